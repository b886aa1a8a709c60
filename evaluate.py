"""Does the ending follow the instruction? Perplexity, preference, adherence, texts, with intervals.

    uv run python evaluate.py --checkpoint checkpoints/sft_30M_model/best
    uv run python evaluate.py --checkpoint A B --ending-strength 1.5 2        # a column a checkpoint

What is measured, all on the validation split:
- loss and perplexity, over all its tokens (evaluation/likelihood.py);
- preference: is a true story likelier when its own ending is asked for than any other? No sampling, no judge;
- adherence: stories are told about topics that training had none of, one for each ending, and a classifier of
  training stories (evaluation/judge.py) says how they end. It stands beside its own accuracy on true held-out
  stories;
- their texts: length, topic words, variety, repetition, what was copied (evaluation/text_statistics.py).

Every figure has a 95% interval over topics (evaluation/metrics.py), and is of the model as it is; what a
higher ending strength brings is compared apart. The same command and seed give the same numbers.
Writes evaluation.json, report.md with pictures and stories to read, and with --update-card the model's card.
"""

import common.threads  # noqa: F401 (before torch)

import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import generate
from common import hub
from common.checkpoints import finetuned_checkpoint, locate, sha256
from common.cli import parse, run, setting
from common.device import choose_compute
from common.errors import InputError
from common.files import claimed_folder, whole_file, write_text
from common.own_stories import Example
from common.presets import PRESETS
from common.seeds import derived_seed
from dataset import endings_of, fingerprint, load_data, read_examples
from evaluation import report
from evaluation.judge import Judge, train_judge
from evaluation.likelihood import Trial, ask_as_the_data, encode_trials, likelihood_metrics, score
from evaluation.metrics import Metrics, Topics, accuracy, adherence, perplexity
from evaluation.text_statistics import story_statistics
from generate import choose_token
from inference.sampling import MOST_STRENGTH, Sampling
from inference.stories import Request, check_top_k, limit_tokens, tell_stories
from model import GPT2, load_model
from sharing.cards import with_adherence

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class Settings:
    checkpoint: tuple[str, ...] = setting((), "one or more: folders, .pt or .safetensors files, Hub ids")
    model_size: str = setting(
        "30m", "without --checkpoint: the one trained here, else the published one", choices=tuple(PRESETS)
    )
    data: str | None = setting(
        None,
        "folder from prepare_data.py, file of stories, or Hub id; default: the local one, else the published",
    )
    output: str = setting("report", "folder to write; it appears whole or not at all")
    overwrite: bool = setting(False, "replace the report in an output folder; other files stay")
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
class HeldOut:
    """What all checkpoints are measured on."""

    endings: tuple[str, ...]
    validation: list[Example]  # loss and preference are of all of them
    topics: Topics  # of `validation`
    training_stories: Sequence[str]
    unseen: list[Example]  # the validation examples about topics that training has none of
    requests: list[Request]  # for each drawn topic and each of its seeds, a story for every ending
    requested_topics: Topics  # of each such set of stories
    judge: Judge


def hold_out(data: "datasets.DatasetDict", settings: Settings) -> HeldOut:
    """Draw topics to tell stories about, and train the judge. Raises InputError if data is lacking."""
    if not len(data.get("validation", ())):
        raise InputError("--data: holds no validation examples; make more with prepare_data.py")
    endings = endings_of(data)
    if not endings:
        raise InputError("--data: has no endings to ask for, and that is what is measured here")
    train, validation = (read_examples(data[split], endings) for split in ("train", "validation"))
    topics_of_all = Topics([example.topic for example in validation], settings.seed)
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
        for ending in endings
    ]
    stories = [example.story for example in train]
    return HeldOut(
        endings,
        validation,
        topics_of_all,
        stories,
        unseen,
        requests,
        Topics([request.topic for request in requests[:: len(endings)]], settings.seed),
        train_judge(stories, [example.ending for example in train]),
    )


def judge_accuracy(held: HeldOut, seed: int) -> Metrics:
    """How often the judge is right on true stories about topics that it has not seen."""
    topics, endings, stories = zip(*held.unseen, strict=True)
    return accuracy(Topics(topics, seed), held.judge.verdicts(stories), np.array(endings), held.endings)


def true_story_statistics(held: HeldOut, seed: int) -> Metrics:
    """Statistics of the true stories about the topics that stories are told about."""
    drawn = {request.topic for request in held.requests}
    topics, _, stories = zip(*(each for each in held.unseen if each.topic in drawn), strict=True)
    metrics = story_statistics(topics, stories, held.training_stories, seed)
    del metrics["distinct-2, stories of a topic"]  # there is hardly more than one, nothing to compare
    return metrics


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that is to be measured."""

    model: GPT2
    trials: list[Trial]  # of all validation examples
    drawn: list[Trial]  # one for each topic that stories are told about
    plain: Sampling
    guided: list[Sampling]  # one for each ending strength but 1


def prepare_candidate(model: GPT2, held: HeldOut, settings: Settings) -> Candidate:
    """Raises InputError if the model does not fit the data or the settings."""
    ask_as_the_data(model, held.endings)
    trials = encode_trials(held.validation, held.endings, model.config)
    first = {trial.topic: trial for trial in reversed(trials)}
    drawn = [first[topic] for topic in dict.fromkeys(request.topic for request in held.requests)]
    longest = max(len(prompt) for trial in drawn for prompt in trial.prompts)
    check_top_k(settings.top_k, model)
    context = model.config.context_length
    room = limit_tokens(settings.max_tokens or context - longest, longest, context)
    plain = Sampling(room, settings.temperature, settings.top_k, settings.top_p)
    strengths = sorted({*settings.ending_strength} - {plain.ending_strength})
    return Candidate(
        model, trials, drawn, plain, [replace(plain, ending_strength=each) for each in strengths]
    )


def measure(candidate: Candidate, held: HeldOut, seed: int) -> dict[str, Any]:
    """A checkpoint's figures and the stories they come from; for every ending strength, the adherence and the
    perplexity of the drawn topics' true stories."""
    drawn = Topics([trial.topic for trial in candidate.drawn], seed)
    tokens = [len(trial.targets) for trial in candidate.drawn]
    told, verdicts, endings, strengths = [], [], [], []
    for sampling in (candidate.plain, *candidate.guided):
        name = f"tell stories, ending strength {sampling.ending_strength:g}"
        told.append(tell_stories(candidate.model, held.requests, sampling, choose_token, progress=name))
        verdicts.append(held.judge.verdicts([story.text for story in told[-1]]))
        losses = score(candidate.model, candidate.drawn, sampling.ending_strength).asked
        likely = {"perplexity, true stories": perplexity(drawn.ratio(losses, tokens))}
        sets = verdicts[-1].reshape(-1, len(held.endings))
        endings.append(adherence(held.requested_topics, sets, held.endings))
        strengths.append({"strength": sampling.ending_strength, **endings[-1], **likely})

    asked = [request.topic for request in held.requests]
    texts, complete = zip(*((story.text, story.complete) for story in told[0]), strict=True)
    return {
        "max_tokens": candidate.plain.max_new_tokens,
        "metrics": likelihood_metrics(
            held.topics, candidate.trials, score(candidate.model, candidate.trials), held.endings
        )
        | endings[0]
        | {"end by themselves": Topics(asked, seed).share(complete)}
        | story_statistics(asked, texts, held.training_stories, seed),
        "strengths": strengths,
        "stories": [
            request._asdict() | {"judged": verdict, "complete": story.complete, "text": story.text}
            for request, story, verdict in zip(held.requests, told[0], verdicts[0].tolist(), strict=True)
        ],
    }


def card_of(name: str, file: Path) -> Path:
    """The README.md beside the weights. Raises InputError if it cannot take what was measured."""
    card = file.with_name("README.md")
    if hub.is_name(name) or not card.is_file():
        raise InputError(f"--update-card: {name} is not a folder here with the README.md of finetune.py")
    with_adherence(card.read_text("utf-8"), "", None, {}, "")
    return card


def summary(evaluation: dict[str, Any], metrics: Metrics) -> str:
    """How the endings follow the instruction, for a model's card."""
    asked = (
        f"{report.with_interval(metrics[f'adherence, {ending}'])} of the {ending} ones"
        for ending in evaluation["endings"]
    )
    return (
        f"{', '.join(asked)} (with 95% intervals; {evaluation['topics']} held-out topics, temperature "
        f"{evaluation['settings']['temperature']:g}, by a classifier that agrees with the label of "
        f"{report.with_interval(evaluation['judge']['adherence, balanced'])} of true stories)"
    )


def evaluate(settings: Settings, folder: Path) -> dict[str, Any]:
    """Measure, and fill `folder` with the report. Returns what evaluation.json holds."""
    compute = choose_compute(settings.device)
    names = settings.checkpoint or (finetuned_checkpoint(settings.model_size),)
    files = [locate(name) for name in names]
    cards = [card_of(*both) for both in zip(names, files, strict=True)] if settings.update_card else []
    data, origin = load_data(settings.data)
    held = hold_out(data, settings)
    hashes = [sha256(file) for file in files]
    models = (load_model(file, compute.device) for file in files)
    candidates = [prepare_candidate(model, held, settings) for model in models]

    print(f"compute: {compute.reason}")
    evaluation: dict[str, Any] = {
        "settings": asdict(settings),
        "data": origin | {"fingerprint": fingerprint(data["validation"])},
        "endings": held.endings,
        "examples": len(held.validation),
        "unseen": len(held.unseen),
        "topics": len({request.topic for request in held.requests}),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "judge": judge_accuracy(held, settings.seed),
        "true stories": true_story_statistics(held, settings.seed),
        "checkpoints": [],
    }
    for name, file, digest, candidate in zip(names, files, hashes, candidates, strict=True):
        print(f"measure {name}", flush=True)
        measured = measure(candidate, held, settings.seed)
        evaluation["checkpoints"].append(hub.origin(name, file.parent) | {"sha256": digest} | measured)
    report.write(evaluation, folder)
    for card, file, checkpoint in zip(cards, files, evaluation["checkpoints"], strict=False):
        if sha256(file) != checkpoint["sha256"]:
            print(f"note: {file} has been replaced since it was measured; its card stays", file=sys.stderr)
            continue
        metrics = checkpoint["metrics"]
        shares = {ending: metrics[f"adherence, {ending}"].value for ending in held.endings}
        said = summary(evaluation, metrics)
        said = with_adherence(card.read_text("utf-8"), str(origin["name"]), origin["commit"], shares, said)
        with whole_file(card) as temporary:
            write_text(temporary, said)
    return evaluation


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    output = Path(settings.output)
    with claimed_folder(output, settings.overwrite, report.WRITTEN, "an evaluation") as folder:
        evaluation = evaluate(settings, folder)
    print(report.metrics_table(evaluation))
    print(f"written to {output}")


if __name__ == "__main__":
    run(main)
