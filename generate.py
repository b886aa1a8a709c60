"""Tell stories: a topic and an ending in, a story out.

    uv run python generate.py --topic "a lost dog" --ending sad
    uv run python generate.py                                    # asks for topic and ending
    uv run python generate.py --topics lines.txt --ending sad --output told.jsonl

On a CPU the engine tells it (inference/engine.c), otherwise PyTorch: there `choose_token` chooses a token, in
the loop of inference/decoding.py. How a request becomes a prompt and tokens become text is in
inference/stories.py.

`--ending-strength S` weighs the asked ending more: classifier-free guidance, with the prompts that ask for
the other endings as the negative ones.
"""

import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.checkpoints import finetuned_checkpoint
from common.cli import parse, run, setting
from common.endings import ENDINGS, either, read_taught
from common.errors import InputError
from common.presets import PRESETS
from common.seeds import new_seed
from inference.opening import open_model
from inference.sampling import LARGEST_SEED, MOST_STRENGTH, Sampling
from inference.stories import (
    Model,
    Request,
    check_top_k,
    encode_requests,
    limit_tokens,
    longest_prompt,
    stream_story,
    tell_stories,
)
from inference.topics import Told, asked, read_topics, tell_lines

if TYPE_CHECKING:  # importing torch takes longer than a story
    import torch
    from torch import Tensor

    from model import GPT2


@dataclass(frozen=True)
class Settings:
    topic: str | None = setting(None, "what the story is about; asked for if not given")
    topics: str | None = setting(None, "a file with a topic on each line, for a story about each")
    ending: str | None = setting(None, "how it ends; asked for if not given")
    model_size: str = setting(
        "30m", "which fine-tuned model: the one trained here, else the published one", choices=tuple(PRESETS)
    )
    checkpoint: str | None = setting(None, "another model: a folder, a .pt or .safetensors file, a Hub id")
    temperature: float = setting(0.7, "0 always takes the likeliest token; higher is more varied", at_least=0)
    top_k: int = setting(50, "sample from the K likeliest tokens", at_least=1)
    top_p: float = setting(
        1.0, "sample from the likeliest tokens that hold this much probability", at_least=0, at_most=1
    )
    ending_strength: float = setting(
        1.0, "1 is plain, more pushes away from the other endings", at_least=0, at_most=MOST_STRENGTH
    )
    max_tokens: int | None = setting(
        None,
        f"most tokens of a story; default {Sampling.max_new_tokens}, or what the context leaves",
        at_least=1,
    )
    num_stories: int = setting(1, "stories to tell, together", at_least=1, at_most=256)
    seed: int | None = setting(
        None,
        "story i is drawn from seed + i; default: a new one every time",
        at_least=0,
        at_most=LARGEST_SEED,
    )
    json: bool = setting(False, "print JSON instead of text: an object; with --topics, one on each line")
    output: str | None = setting(
        None, "with --topics: a file for these lines of JSON, with which a run that was stopped goes on"
    )
    device: str = setting("auto", "cpu, cuda, cuda:1 ...; auto takes a GPU if there is one")


def choose_token(values: "Tensor", ids: "Tensor", uniform: "Tensor", sampling: Sampling) -> "Tensor":
    """The next token of every row, (B,) int64, by a number in [0, 1) for each, `uniform` (B,) float32, out of
    the tokens `ids` (B, K) int64, whose logits `values` (B, K) descend.

    Temperature, then top-p (the smallest set of the likeliest tokens that holds at least top-p; Holtzman et
    al. 2020, "The Curious Case of Neural Text Degeneration"); then the token at which the cumulative
    probability passes the row's uniform number. Top-k is what decoding.likeliest gave.
    """
    import torch

    if sampling.temperature == 0:
        return ids[:, 0]
    values = values.float()
    temperature = max(sampling.temperature, torch.finfo(torch.float32).tiny)
    probabilities = torch.softmax((values - values[:, :1]) / temperature, -1)
    if sampling.top_p < 1:
        before = probabilities.cumsum(-1) - probabilities  # what the likelier tokens hold together
        probabilities = probabilities.masked_fill((before >= sampling.top_p) & (before > 0), 0.0)
    cumulative = probabilities.cumsum(-1)
    drawn = torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True)  # (B, 1)
    last = (probabilities > 0).sum(-1, keepdim=True) - 1  # rounding must not pass the last possible one
    return ids.gather(-1, drawn.minimum(last)).squeeze(-1)


def generate_story(
    model: "GPT2",
    topic: str,
    ending: str,
    max_new_tokens: int = Sampling.max_new_tokens,
    temperature: float = Sampling.temperature,
    top_k: int | None = Sampling.top_k,
    eos_id: int = 50256,
    device: "str | torch.device" = "cpu",
    *,
    top_p: float = Sampling.top_p,
    ending_strength: float = Sampling.ending_strength,
    seed: int | None = None,
) -> str:
    """One story as text, without its prompt. The model is moved to `device`. Defaults are those that the
    method is known by; the command line's temperature is another.

    The end-of-text id is the last of every vocabulary: for a smaller one than GPT-2's, `eos_id` is cut to it.
    """
    story = tell_stories(
        model.to(device),
        [Request(topic, ending, new_seed() if seed is None else seed)],
        Sampling(max_new_tokens, temperature, top_k, top_p, ending_strength),
        choose_token,
        min(eos_id, model.config.vocab_size - 1),
    )
    return story[0].text


def choose_sampling(model: Model, settings: Settings, longest: int) -> Sampling:
    """For stories behind at most `longest` tokens."""
    room = limit_tokens(settings.max_tokens, longest, model.config.context_length)
    return Sampling(room, settings.temperature, settings.top_k, settings.top_p, settings.ending_strength)


def print_stories(model: Model, settings: Settings, topic: str, ending: str, checkpoint: str) -> None:
    """Print the stories of one topic and ending: one as it is sampled, several or JSON when they are done."""
    first = new_seed() if settings.seed is None else settings.seed
    requests = Request(topic, ending, first).with_next_seeds(settings.num_stories)
    prompts, others = encode_requests(model, requests[:1], settings.ending_strength)
    sampling = choose_sampling(model, settings, longest_prompt(prompts, others))
    if settings.num_stories == 1 and not settings.json:
        printed = 0
        for story in stream_story(model, requests[0], sampling, choose_token):
            print(story.text[printed:], end="", flush=True)
            printed = len(story.text)
        print()
        return
    stories = tell_stories(model, requests, sampling, choose_token)
    if settings.json:
        told = dict(topic=topic, ending=ending, checkpoint=checkpoint, stories=[vars(s) for s in stories])
        print(json.dumps(told, indent=2))
        return
    for number, story in enumerate(stories, 1):
        print(f"--- {number} of {len(stories)}, seed {story.seed}\n{story.text}\n")


def tell_topics(model: Model, settings: Settings, file: str, ending: str, checkpoint: str) -> None:
    """Stories about each line of a file: printed as they are done, or added to --output."""
    topics, longest = read_topics(file), 0
    for number, topic in topics.items():
        try:
            tried = encode_requests(model, [Request(topic, ending, 0)], settings.ending_strength)
        except InputError as error:
            said = str(error).removeprefix("--topic: ")
            raise InputError(f"--topics {file}: line {number} {said}") from error
        longest = max(longest, longest_prompt(*tried))
    sampling = choose_sampling(model, settings, longest)
    output = settings.output
    with Told.claimed(output, f"--output {output}") if output else nullcontext() as told:
        first = settings.seed
        if first is None:
            first = told.first_seed if told and told.first_seed is not None else new_seed()
        each = settings.num_stories
        requests = [
            request
            for i, topic in enumerate(topics.values())
            for request in Request(topic, ending, first + i * each).with_next_seeds(each)
        ]
        if told:
            told.check([asked(request, sampling, checkpoint) for request in requests])
            requests = requests[len(told.lines) :]
        for line in tell_lines(model, requests, sampling, checkpoint, choose_token):
            if told:
                told.add(line)
            elif settings.json:
                print(json.dumps(line), flush=True)
            else:
                print(f"--- {line['topic']}, seed {line['seed']}\n{line['text']}\n", flush=True)


def ask(question: str) -> str:
    print(question, end="", file=sys.stderr, flush=True)
    try:
        return input().strip()
    except (EOFError, OSError, RuntimeError):  # it has ended, its terminal is gone, it was never open
        return ""


def told_endings(checkpoint: str, endings: Sequence[str]) -> str:
    if not endings:
        return f"{checkpoint} was taught none; leave --ending out, and give it a prompt as --topic"
    return f"stories of {checkpoint} end {either(endings)}"


def endings_for_help(settings: Settings) -> str:
    """What --help says of the model that is named, without the network."""
    checkpoint = settings.checkpoint or finetuned_checkpoint(settings.model_size)
    place = Path(checkpoint)
    if not place.exists():
        return f"--ending: unless its endings.json says otherwise, {told_endings(checkpoint, ENDINGS)}"
    taught = read_taught(place if place.is_dir() else place.parent)
    return f"--ending: {told_endings(checkpoint, taught.endings)}"


def ask_ending(endings: Sequence[str]) -> str:
    """One of the model's endings, by as much of its start as tells it from the others."""
    while True:
        answer = ask(f"Does it end {either(endings)}? ").lower()
        if not answer:
            raise InputError(f"--ending: none given; one of {', '.join(endings)}")
        meant = [ending for ending in endings if ending.startswith(answer)]
        if answer in meant or len(meant) == 1:
            return answer if answer in meant else meant[0]


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__, endings_for_help)
    if settings.topics and settings.topic is not None:
        raise InputError("--topic, --topics: are two ways to say the same; leave one out")
    if settings.output and not settings.topics:
        raise InputError("--output: goes with --topics; leave it out")
    if not settings.temperature and settings.num_stories > 1:
        raise InputError("--temperature 0: tells the same story each time; leave --num-stories out")
    checkpoint = settings.checkpoint
    if checkpoint is None:
        checkpoint = finetuned_checkpoint(settings.model_size)
    model, how = open_model(checkpoint, settings.device)
    check_top_k(settings.top_k, model)
    endings = model.taught.endings
    if settings.ending is not None and settings.ending not in endings:
        raise InputError(f"--ending {settings.ending}: {told_endings(checkpoint, endings)}")
    print(f"model {checkpoint} on {how}", file=sys.stderr)

    def choose_ending() -> str:
        return settings.ending or (ask_ending(endings) if endings else "")

    if settings.topics:
        tell_topics(model, settings, settings.topics, choose_ending(), checkpoint)
        return
    if settings.topic is not None:
        print_stories(model, settings, settings.topic, choose_ending(), checkpoint)
        return
    topic = ask("What is the story about? ")
    if not topic:
        raise InputError("--topic: none given; say what the story is about")
    while topic:
        ending = choose_ending()
        try:
            print_stories(model, settings, topic, ending, checkpoint)
        except InputError as error:
            print(error, file=sys.stderr)
        topic = ask("What is the next story about? (nothing: stop) ")


if __name__ == "__main__":
    run(main)
