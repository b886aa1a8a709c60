"""Does the ending follow the instruction? Perplexity, preference, adherence and craft, with intervals.

    uv run python evaluate.py --checkpoint checkpoints/sft_30M_model/best
    uv run python evaluate.py --checkpoint A B --ending-strength 1.5 2        # a column a checkpoint

What is measured, all on the validation split:
- loss and perplexity, over all its tokens (likelihood.py);
- preference: is a true story likelier when its own ending is asked for? No sampling and no judge;
- adherence: stories are told about topics that training had none of, happily and sadly, and a classifier of
  training stories (judge.py) says how they end. It stands beside its own accuracy on true held-out stories;
- craft: length, topic words, variety, repetition, what was copied (craft.py).

Every figure has a 95% interval over topics (metrics.py), and is of the model as it is; what a higher ending
strength brings is compared apart. The same command and seed give the same numbers.
Writes evaluation.json, report.md with pictures and stories to read, and with --update-card the model's card.
"""

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import generate
from common import hub
from common.cli import InputError, parse, run, setting
from common.device import choose_compute
from common.files import claim_folder, whole_file, whole_folder
from dataset import (
    ENDINGS,
    Example,
    default_data,
    fingerprint,
    load_data,
    locate_data,
    read_examples,
)
from evaluation import report
from evaluation.judge import Judge, train_judge
from evaluation.likelihood import Pair, encode_pairs, figures, score
from evaluation.metrics import Metrics, Topics, accuracy, adherence, perplexity
from evaluation.text_statistics import distinct, longest_copied, repetition, topic_recall, words
from generate import (
    MOST_STRENGTH,
    Request,
    Sampling,
    check_top_k,
    limit_tokens,
    tell_stories,
)
from inference.cpu import for_inference
from model import GPT2, PRESETS, finetuned_checkpoint, load_model, locate
from sharing.cards import with_endings
from training.batches import derived_seed

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class Settings:
    checkpoint: tuple[str, ...] = setting((), "one or more: folders, .pt or .safetensors files, Hub ids")
    model_size: str = setting(
        "30m", "without --checkpoint: the one trained here, else the published one", choices=tuple(PRESETS)
    )
    data: str | None = setting(
        None, "folder from prepare_data.py, or a Hub id; default: the local one, else the published"
    )
    output: str = setting("evaluation", "folder to write; it appears whole or not at all")
    overwrite: bool = setting(False, "replace an output folder that is there")
    update_card: bool = setting(False, "write the shares of endings as asked into the checkpoints' README.md")
    topics: int = setting(100, "held-out topics to tell stories about, or as many as there are", at_least=2)
    num_stories: int = setting(2, "stories for each topic and ending", at_least=1, at_most=256)
    ending_strength: tuple[float, ...] = setting(
        (1.5, 2.0, 3.0),
        "one or more to compare with 1, which is plain (see generate.py); 1: none",
        at_least=0,
        at_most=MOST_STRENGTH,
    )
    temperature: float = setting(generate.Settings.temperature, "as of generate.py", at_least=0)
    top_k: int = setting(generate.Settings.top_k, "as of generate.py", at_least=1)
    top_p: float = setting(generate.Settings.top_p, "as of generate.py", at_least=0, at_most=1)
    max_tokens: int | None = setting(
        None, "most tokens of a story; default: what the context leaves, so that stories end", at_least=1
    )
    seed: int = setting(0, "of topics, stories and intervals", at_least=0)
    device: str = setting("auto", "cpu, cuda, cuda:1 ...; auto takes a GPU if there is one")


@dataclass(frozen=True)
class Held:
    """What all checkpoints are measured on."""

    validation: list[Example]  # loss and preference are of all of them
    examples: Topics  # theirs
    training_stories: Sequence[str]
    unseen: list[Example]  # the validation examples about topics that training has none of
    requests: list[Request]  # for each drawn topic and each of its seeds a happy story, then a sad one
    told: Topics  # of each pair of requests
    judge: Judge


def hold_out(data: "datasets.DatasetDict", settings: Settings) -> Held:
    """Draw topics to tell stories about, and train the judge. Raises InputError if data is lacking."""
    if not len(data.get("validation", ())):
        raise InputError("--data: holds no validation examples; make more with prepare_data.py")
    train, validation = read_examples(data["train"]), read_examples(data["validation"])
    examples = Topics([example.topic for example in validation], settings.seed)
    seen = {example.topic for example in train}
    unseen = [example for example in validation if example.topic not in seen]
    topics = list(dict.fromkeys(example.topic for example in unseen))
    if len(topics) < 2:
        raise InputError(
            f"--data: {len(topics)} of its validation topics are not in its train split, too; two are needed"
        )
    drawn = np.random.default_rng(settings.seed).permutation(len(topics))[: settings.topics]
    requests = [
        Request(topics[number], ending, derived_seed(settings.seed, "story", number, i))
        for number in drawn.tolist()
        for i in range(settings.num_stories)
        for ending in ENDINGS
    ]
    stories = [example.story for example in train]
    return Held(
        validation,
        examples,
        stories,
        unseen,
        requests,
        Topics([request.topic for request in requests[::2]], settings.seed),
        train_judge(stories, [example.ending for example in train]),
    )


def craft(
    asked: Sequence[str], stories: Sequence[str], training_stories: Sequence[str], seed: int
) -> Metrics:
    """How stories about the topics `asked` are told."""
    about: dict[str, list[str]] = {}
    for topic, story in zip(asked, stories, strict=True):
        about.setdefault(topic, []).append(story)
    values: dict[str, list[int] | list[float]] = {
        "words": [len(words(story)) for story in stories],
        "topic words that come back": [topic_recall(*both) for both in zip(asked, stories, strict=True)],
        "distinct-2, stories of a topic": [distinct(about[topic], 2) for topic in asked],
        "repeated runs of 4 words": [repetition(story) for story in stories],
        "longest copied run, words": longest_copied(stories, training_stories),
    }
    topics = Topics(asked, seed)
    return {name: topics.mean(x, ~np.isnan(x)) for name, x in values.items()}


def judge_accuracy(held: Held, seed: int) -> Metrics:
    """Of the judge, on true stories about topics that it has not seen."""
    topics, endings, stories = zip(*held.unseen, strict=True)
    sad = np.array([ending == "sad" for ending in endings])
    return accuracy(Topics(topics, seed), held.judge.is_sad(stories), sad)


def true_craft(held: Held, seed: int) -> Metrics:
    """The craft of the true stories about the drawn topics."""
    drawn = {request.topic for request in held.requests}
    topics, _, stories = zip(*(each for each in held.unseen if each.topic in drawn), strict=True)
    figures = craft(topics, stories, held.training_stories, seed)
    del figures["distinct-2, stories of a topic"]  # there is hardly more than one, nothing to compare
    return figures


@dataclass(frozen=True)
class Subject:
    """A checkpoint with what it needs to be measured."""

    model: GPT2
    pairs: list[Pair]  # of all validation examples
    drawn: list[Pair]  # one for each of the drawn topics
    plain: Sampling
    guided: list[Sampling]  # one for each other ending strength


def prepare(model: GPT2, held: Held, settings: Settings) -> Subject:
    """Raises InputError if the model does not fit the data or the settings."""
    pairs = encode_pairs(held.validation, model.config)
    first = {pair.topic: pair for pair in reversed(pairs)}
    drawn = [first[topic] for topic in dict.fromkeys(request.topic for request in held.requests)]
    longest = max(len(prompt) for pair in drawn for prompt in pair.prompts)
    check_top_k(settings.top_k, model)
    context = model.config.context_length
    room = limit_tokens(settings.max_tokens or context - longest, longest, context)
    plain = Sampling(room, settings.temperature, settings.top_k, settings.top_p)
    strengths = sorted({*settings.ending_strength} - {plain.ending_strength})
    return Subject(model, pairs, drawn, plain, [replace(plain, ending_strength=each) for each in strengths])


def measure(subject: Subject, held: Held, seed: int) -> dict[str, Any]:
    """A checkpoint's figures and the stories they come from; for every ending strength, the adherence and the
    perplexity of the drawn topics' true stories."""
    drawn = Topics([pair.topic for pair in subject.drawn], seed)
    tokens = [len(pair.targets) for pair in subject.drawn]
    told, judged_sad, endings, strengths = [], [], [], []
    for sampling in (subject.plain, *subject.guided):
        name = f"tell stories, ending strength {sampling.ending_strength:g}"
        told.append(tell_stories(subject.model, held.requests, sampling, progress=name))
        judged_sad.append(held.judge.is_sad([story.text for story in told[-1]]))
        losses = score(subject.model, subject.drawn, sampling.ending_strength).story
        likely = {"perplexity, true stories": perplexity(drawn.ratio(losses, tokens))}
        endings.append(adherence(held.told, judged_sad[-1].reshape(-1, 2)))
        strengths.append({"strength": sampling.ending_strength, **endings[-1], **likely})

    asked = [request.topic for request in held.requests]
    texts, complete = zip(*((story.text, story.complete) for story in told[0]), strict=True)
    return {
        "max_tokens": subject.plain.max_new_tokens,
        "metrics": figures(held.examples, subject.pairs, score(subject.model, subject.pairs))
        | endings[0]
        | {"end by themselves": Topics(asked, seed).share(complete)}
        | craft(asked, texts, held.training_stories, seed),
        "strengths": strengths,
        "stories": [
            request._asdict() | {"judged": ENDINGS[int(sad)], "complete": story.complete, "text": story.text}
            for request, story, sad in zip(held.requests, told[0], judged_sad[0], strict=True)
        ],
    }


def card_of(name: str, file: Path) -> Path:
    """The README.md beside the weights. Raises InputError if it cannot take what was measured."""
    card = file.with_name("README.md")
    if hub.is_name(name) or not card.is_file():
        raise InputError(f"--update-card: {name} is not a folder here with the README.md of finetune.py")
    with_endings(card.read_text(), "", None, {}, "")
    return card


def summary(evaluation: dict[str, Any], metrics: Metrics) -> str:
    """How the endings follow the instruction, for a model's card."""
    asked = (f"{report.cell(metrics[f'adherence, {ending}'])} of the {ending} ones" for ending in ENDINGS)
    return (
        f"{', '.join(asked)} (with 95% intervals; {evaluation['topics']} held-out topics, temperature "
        f"{evaluation['settings']['temperature']:g}, by a classifier that agrees with the label of "
        f"{report.cell(evaluation['judge']['adherence, balanced'])} of true stories)"
    )


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    compute = choose_compute(settings.device)
    output = Path(settings.output)
    claim_folder(output, settings.overwrite, "evaluation.json", "an evaluation")
    names = settings.checkpoint or (finetuned_checkpoint(settings.model_size),)
    files = [locate(name) for name in names]
    cards = [card_of(*both) for both in zip(names, files, strict=True)] if settings.update_card else []
    source = default_data() if settings.data is None else settings.data
    folder = locate_data(source)
    data = load_data(source, folder)
    held = hold_out(data, settings)
    models = (for_inference(load_model(file, compute.device)) for file in files)
    subjects = [prepare(model, held, settings) for model in models]

    print(f"compute: {compute.reason}")
    origin = hub.origin(source, folder)
    evaluation: dict[str, Any] = {
        "settings": asdict(settings),
        "data": origin | {"fingerprint": fingerprint(data["validation"])},
        "examples": len(held.validation),
        "unseen": len(held.unseen),
        "topics": len({request.topic for request in held.requests}),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "judge": judge_accuracy(held, settings.seed),
        "true stories": true_craft(held, settings.seed),
        "checkpoints": [],
    }
    for name, file, subject in zip(names, files, subjects, strict=True):
        print(f"measure {name}", flush=True)
        measured = measure(subject, held, settings.seed)
        evaluation["checkpoints"].append(hub.origin(name, file.parent) | measured)
    with whole_folder(output) as temporary:
        report.write(evaluation, temporary)
    for card, checkpoint in zip(cards, evaluation["checkpoints"], strict=False):
        metrics = checkpoint["metrics"]
        shares = {ending: metrics[f"adherence, {ending}"].value for ending in ENDINGS}
        said = with_endings(card.read_text(), source, origin["commit"], shares, summary(evaluation, metrics))
        with whole_file(card) as temporary:
            temporary.write_text(said)
    print(report.table(evaluation))
    print(f"written to {output}")


if __name__ == "__main__":
    run(main)
