"""Tell stories: a topic and an ending in, a story out.

    uv run python generate.py --topic "a lost dog" --ending sad
    uv run python generate.py                                    # asks for topic and ending

Generation is next-token choice (`choose_token`), the loop around it (`stream_tokens`: prompts into the KV
cache, then a token at a time) and text: `stream_story` as it is told, `tell_stories` many at once,
`generate_story`. All that a generation knows is its own: several may run on one model at the same time, and
one that is closed or fails leaves nothing behind.

`--ending-strength S` weighs the asked ending more: classifier-free guidance, with the prompt that asks for
the other ending as the negative one.
"""

import codecs
import json
import random
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from common.cli import InputError, parse, run, setting
from common.device import choose_compute
from dataset import ENDINGS, format_instruction, get_tokenizer, other_ending
from inference.cpu import OutputLayer, for_inference
from model import GPT2, PRESETS, KVCache, finetuned_checkpoint, load_model

MOST_STRENGTH = 100.0
MOST_STORIES = 64  # told together; on two cores, 128 of 30m were no faster


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen, and how many there may be. Raises ValueError if out of range."""

    max_new_tokens: int = 200
    temperature: float = 1.0  # 0 is greedy
    top_k: int | None = 50  # None: the whole vocabulary
    top_p: float = 1.0
    ending_strength: float = 1.0  # 1 is plain; more pushes away from the other ending

    def __post_init__(self) -> None:
        k = self.top_k
        if not (
            self.temperature >= 0
            and 0 <= self.top_p <= 1
            and (k is None or k >= 1)
            and self.max_new_tokens >= 1
            and 0 <= self.ending_strength <= MOST_STRENGTH
        ):
            raise ValueError(f"out of range: {self}")


@dataclass(frozen=True)
class Settings:
    topic: str | None = setting(None, "what the story is about; asked for if not given")
    ending: str | None = setting(None, "how it ends; asked for if not given", choices=ENDINGS)
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
        1.0, "1 is plain, more pushes away from the other ending", at_least=0, at_most=MOST_STRENGTH
    )
    max_tokens: int | None = setting(
        None,
        f"most tokens of a story; default {Sampling.max_new_tokens}, or what the context leaves",
        at_least=1,
    )
    num_stories: int = setting(1, "stories to tell, as one batch", at_least=1, at_most=256)
    seed: int | None = setting(
        None, "story i is drawn from seed + i; default: a new one every time", at_least=0
    )
    json: bool = setting(False, "print one JSON object instead of text")
    device: str = setting("auto", "cpu, cuda, cuda:1 ...; auto takes a GPU if there is one")


class Request(NamedTuple):
    """A story to tell. These three and the sampling decide which it will be, whatever is told with it. (Sums
    are rounded otherwise in another batch: now and then a story turns out otherwise, in int8 more often.)"""

    topic: str
    ending: str
    seed: int


@dataclass(frozen=True)
class Story:
    text: str
    seed: int
    tokens: int
    complete: bool  # it ended by itself, not at the limit


def choose_token(values: Tensor, ids: Tensor, uniform: Tensor, sampling: Sampling) -> Tensor:
    """The next token of every row, (B,) int64, by a number in [0, 1) for each, `uniform` (B,) float32, out of
    the tokens `ids` (B, K) int64, whose logits `values` (B, K) descend.

    Temperature, then top-p (the smallest set of the likeliest tokens that holds at least top-p; Holtzman et
    al. 2020, "The Curious Case of Neural Text Degeneration"); then the token at which the cumulative
    probability passes the row's uniform number. Top-k is what `likeliest` gave.
    """
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


def likeliest(model: GPT2, hidden: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """The logits to choose from behind `hidden` (B, C), descending, and their tokens, both (B, K)."""
    V = model.config.vocab_size
    k = 1 if sampling.temperature == 0 else min(sampling.top_k or V, V)
    if isinstance(model.output_layer, OutputLayer) and len(hidden) == 1:
        return model.output_layer.largest(hidden, k)
    values, ids = model.output_layer(hidden).topk(k)
    return values, ids


@torch.inference_mode()
def stream_tokens(
    model: GPT2,
    prompts: Sequence[Tensor],
    seeds: Sequence[int],
    sampling: Sampling,
    eos_id: int,
    others: Sequence[Tensor] = (),
) -> Generator[Tensor, None, None]:
    """B prompts, each (T,) int64 -> yields the next ids (B,) int64, step by step, until every row has ended.

    A row that has ended yields `eos_id` from then on, and costs nothing. Row i draws from `seeds[i]` alone:
    but for rounding, it is the same whatever else is in the batch. Past the context length the oldest tokens
    are forgotten, and each step costs a whole forward pass.

    With `others`, B prompts that ask for the other ending, every token is drawn from the guided logits
        other + S (asked - other)
    (Sanchez et al. 2023, "Stay on topic with Classifier-Free Guidance": a negative prompt). Asked and other
    are rows of one batch. The output layer is affine, so it is enough to mix what enters it.
    """
    context = model.config.context_length
    per_story = 2 if others else 1
    rows = [row for both in zip(prompts, others, strict=True) for row in both] if others else [*prompts]  # R
    longest = max(map(len, rows))
    padding = torch.tensor([longest - len(row) for row in rows], device=model.device)  # (R,)
    room = torch.full((len(rows), sampling.max_new_tokens), eos_id, device=model.device)
    ids = pad_sequence(rows, batch_first=True, padding_side="left").to(model.device)
    ids = torch.cat([ids, room], 1).view(len(prompts), per_story, -1)  # (stories, 1 or 2, all tokens)
    going = list(range(len(prompts)))  # the stories that go on, as they lie in `ids`
    draws = [random.Random(seed) for seed in seeds]
    cache = KVCache(model, len(rows), min(ids.shape[2], context), padding)
    for length in range(longest, ids.shape[2]):
        if length > context:  # every position has moved: nothing cached holds
            cache = KVCache(model, len(padding), context, (padding - (length - context)).clamp(min=0))
        unread = ids.flatten(0, 1)[:, max(0, length - context) + cache.length : length]  # (R, T)
        hidden = model.hidden(unread, cache)[:, -1]  # (R, C)
        if others:
            asked, other = hidden.view(len(going), 2, -1).unbind(1)
            hidden = torch.lerp(other, asked, sampling.ending_strength)  # (stories, C)
        uniform = torch.tensor([draws[story].random() for story in going], device=model.device)
        chosen = choose_token(*likeliest(model, hidden, sampling), uniform, sampling)  # (stories,)
        ids[:, :, length] = chosen[:, None]
        step = torch.full((len(prompts),), eos_id, device=model.device)
        step[going] = chosen
        yield step
        ended = [token == eos_id for token in chosen.tolist()]
        if all(ended):
            return
        if any(ended):
            places = _close_gaps(ended)
            going, ids = [going[place] for place in places], ids[places]
            kept = [place * per_story + i for place in places for i in range(per_story)]
            padding = padding[kept]
            cache.keep(kept)


def _close_gaps(ended: Sequence[bool]) -> list[int]:
    """The places of those that go on; the last ones move into the gaps, so that few move."""
    places = list(range(len(ended)))
    for gap in reversed(range(len(ended))):
        if ended[gap]:
            places[gap] = places[-1]
            places.pop()
    return places


def stream_text(tokens: Iterator[int], vocab_size: int) -> Generator[str, None, None]:
    """Ids -> pieces of text as soon as they are whole characters."""
    tokenizer = get_tokenizer(vocab_size)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for token in tokens:
        if piece := decoder.decode(tokenizer.decode_single_token_bytes(token)):
            yield piece
    if piece := decoder.decode(b"", final=True):
        yield piece


def encode_prompt(model: GPT2, topic: str, ending: str) -> Tensor:
    """The prompt's ids, (T,) int64; the topic's blanks and newlines become single blanks.

    Raises InputError if the topic is empty, or leaves no room for a story.
    """
    try:
        topic.encode()
    except UnicodeEncodeError as error:
        raise InputError("--topic: is not UTF-8") from error
    words = topic.split()
    if not words:
        raise InputError("--topic: is empty; say what the story is about")
    prompt = format_instruction(" ".join(words), ending)
    ids = get_tokenizer(model.config.vocab_size).encode_ordinary(prompt)
    if len(ids) >= model.config.context_length:
        context = model.config.context_length
        raise InputError(
            f"--topic: makes a prompt of {len(ids):,} tokens, the model reads {context}; shorten it"
        )
    return torch.tensor(ids)


def encode_requests(
    model: GPT2, requests: Sequence[Request], strength: float
) -> tuple[list[Tensor], list[Tensor]]:
    """The prompts, and those that ask for the other ending where `strength` needs them, each (T,) int64."""
    asked = [encode_prompt(model, topic, ending) for topic, ending, _ in requests]
    if strength == 1:
        return asked, []
    return asked, [encode_prompt(model, topic, other_ending(ending)) for topic, ending, _ in requests]


def stream_story(model: GPT2, request: Request, sampling: Sampling) -> Generator[Story, None, None]:
    """A story as far as it is told, whenever there is more text; the last one is that of `tell_stories`.

    To stop it, close the generator. Raises InputError, at once, if the topic is empty or leaves no room.
    """
    eos = model.config.vocab_size - 1
    prompts, others = encode_requests(model, [request], sampling.ending_strength)
    steps = stream_tokens(model, prompts, [request.seed], sampling, eos, others)
    ids: list[int] = []

    def tokens() -> Iterator[int]:
        for step in steps:
            ids.append(int(step))
            if ids[-1] != eos:
                yield ids[-1]

    def stories() -> Generator[Story, None, None]:
        text = ""
        for piece in stream_text(tokens(), model.config.vocab_size):
            text += piece
            yield Story(text, request.seed, len(ids), complete=False)
        complete = ids[-1] == eos
        yield Story(text, request.seed, len(ids) - complete, complete)

    return stories()


def tell_stories(
    model: GPT2,
    requests: Sequence[Request],
    sampling: Sampling,
    eos_id: int | None = None,
    progress: str | None = None,
) -> list[Story]:
    """A story for every request, in their order, without the prompts. `eos_id` None is the model's own.

    With `progress`, a bar of that name shows how far it has come.
    """
    eos = model.config.vocab_size - 1 if eos_id is None else eos_id
    stories = []
    starts = range(0, len(requests), MOST_STORIES)
    for start in tqdm(starts, desc=progress, unit=" batches", leave=False, disable=progress is None):
        batch = requests[start : start + MOST_STORIES]
        seeds = [request.seed for request in batch]
        prompts, others = encode_requests(model, batch, sampling.ending_strength)
        steps = list(stream_tokens(model, prompts, seeds, sampling, eos, others))
        for row, seed in zip(torch.stack(steps, 1).tolist(), seeds, strict=True):
            ids = row[: row.index(eos)] if eos in row else row
            text = "".join(stream_text(iter(ids), model.config.vocab_size))
            stories.append(Story(text, seed, len(ids), complete=eos in row))
    return stories


def generate_story(
    model: GPT2,
    topic: str,
    ending: str,
    max_new_tokens: int = Sampling.max_new_tokens,
    temperature: float = Sampling.temperature,
    top_k: int | None = Sampling.top_k,
    eos_id: int = 50256,
    device: str | torch.device = "cpu",
    *,
    top_p: float = Sampling.top_p,
    ending_strength: float = Sampling.ending_strength,
    seed: int | None = None,
) -> str:
    """One story as text, without its prompt. The model is moved to `device`.

    The end-of-text id is the last of every vocabulary: for a smaller one than GPT-2's, `eos_id` is cut to it.
    """
    story = tell_stories(
        model.to(device),
        [Request(topic, ending, new_seed() if seed is None else seed)],
        Sampling(max_new_tokens, temperature, top_k, top_p, ending_strength),
        min(eos_id, model.config.vocab_size - 1),
    )
    return story[0].text


def new_seed() -> int:
    return random.SystemRandom().randrange(2**31)


def check_top_k(top_k: int, model: GPT2) -> None:
    """Raises InputError if the model has fewer tokens to choose from."""
    if top_k > model.config.vocab_size:
        raise InputError(f"--top-k {top_k}: the model has {model.config.vocab_size} tokens to choose from")


def limit_tokens(asked: int | None, prompt: int, context: int) -> int:
    """The tokens a story may have behind `prompt` tokens. Raises InputError if `asked` is more."""
    room = context - prompt
    if asked is not None and asked > room:
        raise InputError(
            f"--max-tokens {asked}: at most {room} fit behind this prompt "
            f"({prompt} tokens of the model's {context})"
        )
    return asked or min(Sampling.max_new_tokens, room)


def tell(model: GPT2, settings: Settings, topic: str, ending: str, checkpoint: str) -> None:
    """Print the stories of one topic and ending: one as it is sampled, several or JSON when they are done."""
    first = new_seed() if settings.seed is None else settings.seed
    requests = [Request(topic, ending, first + number) for number in range(settings.num_stories)]
    strength = settings.ending_strength
    prompts, others = encode_requests(model, requests[:1], strength)
    longest = max(map(len, (*prompts, *others)))
    room = limit_tokens(settings.max_tokens, longest, model.config.context_length)
    sampling = Sampling(room, settings.temperature, settings.top_k, settings.top_p, strength)
    if settings.num_stories == 1 and not settings.json:
        printed = 0
        for story in stream_story(model, requests[0], sampling):
            print(story.text[printed:], end="", flush=True)
            printed = len(story.text)
        print()
        return
    stories = tell_stories(model, requests, sampling)
    if settings.json:
        told = dict(topic=topic, ending=ending, checkpoint=checkpoint, stories=[vars(s) for s in stories])
        print(json.dumps(told, indent=2))
        return
    for number, story in enumerate(stories, 1):
        print(f"--- {number} of {len(stories)}, seed {story.seed}\n{story.text}\n")


def ask(question: str) -> str:
    print(question, end="", file=sys.stderr, flush=True)
    try:
        return input().strip()
    except EOFError:
        return ""


def ask_ending() -> str:
    while True:
        answer = ask("Does it end happy or sad? ").lower()
        if not answer:
            raise InputError(f"--ending: none given; one of {', '.join(ENDINGS)}")
        for ending in ENDINGS:
            if ending.startswith(answer):
                return ending


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    compute = choose_compute(settings.device)
    checkpoint = settings.checkpoint
    if checkpoint is None:
        checkpoint = finetuned_checkpoint(settings.model_size)
    model = for_inference(load_model(checkpoint, compute.device))
    check_top_k(settings.top_k, model)
    print(f"model {checkpoint} on {compute.device}", file=sys.stderr)

    if settings.topic is not None:
        tell(model, settings, settings.topic, settings.ending or ask_ending(), checkpoint)
        return
    topic = ask("What is the story about? ")
    if not topic:
        raise InputError("--topic: none given; say what the story is about")
    while topic:
        tell(model, settings, topic, settings.ending or ask_ending(), checkpoint)
        topic = ask("What is the next story about? (nothing: stop) ")


if __name__ == "__main__":
    run(main)
