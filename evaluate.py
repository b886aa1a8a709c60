"""Does the ending follow the instruction? Perplexity, preference, adherence, texts, with intervals.

    uv run python evaluate.py --checkpoint BASE checkpoints/sft_30M_model/best       # a column a checkpoint
    uv run python evaluate.py --label report --by ann       # you say how the stories of a finished report end

What is measured, all on the validation split:
- loss and perplexity, over all its tokens (evaluation/likelihood.py), and of stories that stand behind no
  prompt, beside that of the first column, the base: what the model forgot;
- preference (forced-choice accuracy): is a true story likelier when its own ending is asked for than any
  other? No sampling, no judge;
- adherence (control accuracy): stories are told about topics that training had none of, one for each ending,
  and about harder ones (evaluation/hard_topics.toml), and a classifier of training stories
  (evaluation/judges.py) says how they end. It stands beside its own accuracy on true held-out stories, a
  second judge, and people who were asked (evaluation/labels.py), with Cohen's kappa of each two;
- their texts: length, topic words, variety, repetition, what was copied (evaluation/text_statistics.py), and
  how likely another model finds them.

Every figure has a 95% interval over topics (evaluation/metrics.py), and is of the model as it is; what a
higher ending strength brings is compared apart. The same command and seed give the same numbers.
Writes evaluation.json, report.md with pictures and stories to read, and with --update-card the model's card.
"""

import common.threads  # noqa: F401 (before torch)

import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import generate
from common import hub
from common.checkpoints import finetuned_checkpoint, locate, sha256
from common.cli import parse, run, setting
from common.device import choose_compute
from common.errors import InputError
from common.files import claimed_folder, move_files, whole_file, write_text
from common.presets import PRESETS
from dataset import fingerprint, load_data
from evaluation import report
from evaluation.held_out import HeldOut, hold_out, judge_accuracy
from evaluation.judges import WORDS
from evaluation.labelling import check_terminal, label_stories
from evaluation.labels import LabelLines, labels_file, read_labels, with_labels
from evaluation.likelihood import (
    OVER_BASE,
    PLAIN_LOSS,
    Trial,
    ask_as_the_data,
    encode_trials,
    likelihood_metrics,
    loss_over_base,
    score,
    text_losses,
)
from evaluation.metrics import Metrics, Topics, accuracy, adherence, perplexity
from evaluation.requests import HELD_OUT
from evaluation.text_statistics import story_statistics
from generate import choose_token
from inference.sampling import MOST_STRENGTH, Sampling
from inference.stories import (
    Request,
    Story,
    check_top_k,
    encode_requests,
    limit_tokens,
    longest_prompt,
    tell_stories,
)
from model import GPT2, load_model
from samples.story_grammar import ending_of
from sharing.cards import with_adherence


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
    hard_topics: int = setting(
        50, "topics that pull towards the other ending, and as many long ones; 0: none", at_least=0
    )
    num_stories: int = setting(2, "stories for each topic and ending", at_least=1, at_most=256)
    ending_strength: tuple[float, ...] = setting(
        (1.5, 2.0, 3.0),
        "one or more to compare with 1, which is plain (see generate.py); 1: none",
        at_least=0,
        at_most=MOST_STRENGTH,
    )
    plain: str | None = setting(
        None,
        "file of stories to read without a prompt, <|endoftext|> between them; default: those of validation",
    )
    fluency_by: str | None = setting(None, "another checkpoint, that says how likely the told stories are")
    label: str | None = setting(
        None, "a finished report, whose stories you read and say how each ends; needs --by"
    )
    by: str | None = setting(None, "with --label: your name, for the file of your answers")
    temperature: float = setting(generate.Settings.temperature, "as of generate.py", at_least=0)
    top_k: int = setting(generate.Settings.top_k, "as of generate.py", at_least=1)
    top_p: float = setting(generate.Settings.top_p, "as of generate.py", at_least=0, at_most=1)
    max_tokens: int | None = setting(
        None, "most tokens of a story; default: what the context leaves, so that stories end", at_least=1
    )
    seed: int = setting(0, "of topics, stories and intervals", at_least=0)
    device: str = setting("auto", "cpu, cuda, cuda:1 ...; auto takes a GPU if there is one")


class Grammar:
    """The judge that wrote the sample corpus; of a story with none of its sentences it says nothing."""

    def verdicts(self, stories: Sequence[str], topics: Sequence[str]) -> np.ndarray:
        """(N,) object: an ending, or None."""
        return np.array([ending_of(story) for story in stories], dtype=object)


def true_story_statistics(held: HeldOut, fluent: GPT2 | None, seed: int) -> Metrics:
    """Statistics of the true stories about the topics that stories are told about."""
    drawn = {request.topic for request in held.requests[HELD_OUT]}
    topics, _, stories = zip(*(each for each in held.unseen if each.topic in drawn), strict=True)
    metrics = fluency(fluent, topics, stories, [True] * len(stories), seed)
    metrics |= story_statistics(topics, stories, held.training_stories, seed)
    del metrics["distinct-2, stories of a topic"]  # there is hardly more than one, nothing to compare
    return metrics


def fluency(
    fluent: GPT2 | None, topics: Sequence[str], stories: Sequence[str], complete: Sequence[bool], seed: int
) -> Metrics:
    """How likely another model finds stories about N topics, if there is one."""
    if fluent is None:
        return {}
    loss = Topics(topics, seed).ratio(*text_losses(fluent, stories, complete))
    return {"perplexity, told stories": perplexity(loss)}


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that is to be measured."""

    model: GPT2
    trials: list[Trial]  # of all validation examples
    drawn: list[Trial]  # one for each topic that stories are told about
    sampling: dict[str, Sampling]  # by the kind of topics
    guided: list[Sampling]  # one for each ending strength but 1


def prepare_candidate(model: GPT2, held: HeldOut, settings: Settings) -> Candidate:
    """Raises InputError if the model does not fit the data or the settings."""
    ask_as_the_data(model, held.endings)
    trials = encode_trials(held.validation, held.endings, model.config)
    first = {trial.topic: trial for trial in reversed(trials)}
    drawn = [first[topic] for topic in dict.fromkeys(request.topic for request in held.requests[HELD_OUT])]
    check_top_k(settings.top_k, model)
    context = model.config.context_length
    longest = max(len(prompt) for trial in drawn for prompt in trial.prompts)
    room = limit_tokens(settings.max_tokens or context - longest, longest, context)
    plain = Sampling(room, settings.temperature, settings.top_k, settings.top_p)
    sampling = {HELD_OUT: plain}
    for kind in held.requests.keys() - {HELD_OUT}:
        try:
            longest = longest_prompt(encode_requests(model, held.requests[kind], 1)[0], [])
        except InputError as error:
            said = str(error).removeprefix("--topic: ").replace("shorten it", "0 leaves them out")
            raise InputError(f"--hard-topics {settings.hard_topics}: {said}") from error
        sampling[kind] = replace(plain, max_new_tokens=min(room, context - longest))
    strengths = sorted({*settings.ending_strength} - {Sampling.ending_strength})
    guided = [replace(plain, ending_strength=each) for each in strengths]
    return Candidate(model, trials, drawn, sampling, guided)


@dataclass(frozen=True)
class Telling:
    """A checkpoint's stories about topics of one kind, and what the judges say of them."""

    requests: list[Request]
    stories: list[Story]
    judged: dict[str, np.ndarray]  # by judge, (N,)

    @property
    def topics(self) -> list[str]:
        return [request.topic for request in self.requests]

    def as_dicts(self, kind: str) -> list[dict[str, Any]]:
        """For evaluation.json."""
        return [
            request._asdict()
            | {"topics": kind, "judged": {judge: said[i] for judge, said in self.judged.items()}}
            | {"complete": story.complete, "text": story.text}
            for i, (request, story) in enumerate(zip(self.requests, self.stories, strict=True))
        ]


def tell(candidate: Candidate, held: HeldOut, kind: str, sampling: Sampling, said: str) -> Telling:
    requests = held.requests[kind]
    stories = tell_stories(
        candidate.model, requests, sampling, choose_token, progress=f"tell stories, {said}"
    )
    texts, topics = [story.text for story in stories], [request.topic for request in requests]
    judged = {name: judge.verdicts(texts, topics) for name, judge in held.judges.items()}
    return Telling(requests, stories, judged)


def set_adherence(told: Telling, held: HeldOut, seed: int) -> Metrics:
    """Of stories about held-out topics, told for every ending."""
    each = len(held.endings)
    return adherence(Topics(told.topics[::each], seed), told.judged[WORDS].reshape(-1, each), held.endings)


def hard_adherence(kind: str, told: Telling, held: HeldOut, seed: int) -> Metrics:
    """Of stories about harder topics, which may not be told for every ending."""
    asked = np.array([request.ending for request in told.requests])
    endings = [ending for ending in held.endings if ending in asked]
    found = accuracy(Topics(told.topics, seed), told.judged[WORDS], asked, endings)
    return {f"adherence, {ending}, {kind}": found[f"adherence, {ending}"] for ending in endings}


def measure(candidate: Candidate, held: HeldOut, fluent: GPT2 | None, seed: int) -> dict[str, Any]:
    """A checkpoint's figures and the stories they come from; for every ending strength, the adherence and the
    perplexity of the drawn topics' true stories."""
    model = candidate.model
    drawn = Topics([trial.topic for trial in candidate.drawn], seed)
    tokens = [len(trial.targets) for trial in candidate.drawn]
    strengths: list[dict[str, Any]] = []
    kinds: dict[str, Telling] = {}
    for sampling in (candidate.sampling[HELD_OUT], *candidate.guided):
        told = tell(candidate, held, HELD_OUT, sampling, f"ending strength {sampling.ending_strength:g}")
        kinds.setdefault(HELD_OUT, told)
        losses = score(model, candidate.drawn, sampling.ending_strength).asked
        likely = {"perplexity, true stories": perplexity(drawn.ratio(losses, tokens))}
        strengths.append({"strength": sampling.ending_strength, **set_adherence(told, held, seed), **likely})
    main = kinds[HELD_OUT]
    metrics = likelihood_metrics(
        held.topics, candidate.trials, score(model, candidate.trials), held.endings
    ) | set_adherence(main, held, seed)
    for kind in [kind for kind in held.requests if kind != HELD_OUT]:
        kinds[kind] = tell(candidate, held, kind, candidate.sampling[kind], kind)
        metrics |= hard_adherence(kind, kinds[kind], held, seed)

    texts, complete = zip(*((story.text, story.complete) for story in main.stories), strict=True)
    metrics |= fluency(fluent, main.topics, texts, complete, seed)
    metrics["end by themselves"] = Topics(main.topics, seed).share(complete)
    metrics |= story_statistics(main.topics, texts, held.training_stories, seed)
    return {
        "max_tokens": candidate.sampling[HELD_OUT].max_new_tokens,
        "metrics": metrics,
        "strengths": strengths,
        "stories": [story for kind, told in kinds.items() for story in told.as_dicts(kind)],
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
        f"{report.with_interval(evaluation['judges'][WORDS]['adherence, balanced'])} of true stories)"
    )


def evaluate(settings: Settings, folder: Path) -> dict[str, Any]:
    """Measure, and fill `folder` with the report. Returns what evaluation.json holds."""
    compute = choose_compute(settings.device)
    names = settings.checkpoint or (finetuned_checkpoint(settings.model_size),)
    files = [locate(name) for name in names]
    cards = [card_of(*both) for both in zip(names, files, strict=True)] if settings.update_card else []
    data, origin = load_data(settings.data)
    held = hold_out(
        data,
        Grammar(),
        topics=settings.topics,
        hard_topics=settings.hard_topics,
        num_stories=settings.num_stories,
        seed=settings.seed,
        plain=settings.plain,
    )
    labels = read_labels(Path(settings.output), held.endings)
    hashes = [sha256(file) for file in files]
    fluent = load_model(locate(settings.fluency_by), compute.device) if settings.fluency_by else None
    models = (load_model(file, compute.device) for file in files)
    candidates = [prepare_candidate(model, held, settings) for model in models]

    print(f"compute: {compute.reason}")
    evaluation: dict[str, Any] = {
        "settings": asdict(settings),
        "data": origin | {"fingerprint": fingerprint(data["validation"])},
        "endings": held.endings,
        "examples": len(held.validation),
        "unseen": len(held.unseen),
        "topics": len({request.topic for request in held.requests[HELD_OUT]}),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "plain": {
            "stories": len(held.plain),
            "name": Path(settings.plain).name if settings.plain else "the validation split",
        },
        "judges": {name: judge_accuracy(judge, held, settings.seed) for name, judge in held.judges.items()},
        "true stories": true_story_statistics(held, fluent, settings.seed),
        "checkpoints": [],
    }
    base = None
    for name, file, digest, candidate in zip(names, files, hashes, candidates, strict=True):
        print(f"measure {name}", flush=True)
        measured = measure(candidate, held, fluent, settings.seed)
        plain = text_losses(candidate.model, held.plain)
        measured["metrics"][PLAIN_LOSS] = held.plain_topics.ratio(*plain)
        if base:
            measured["metrics"][OVER_BASE] = loss_over_base(held.plain_topics, plain, base)
        base = base or plain
        evaluation["checkpoints"].append(hub.origin(name, file.parent) | {"sha256": digest} | measured)
    evaluation = with_labels(evaluation, labels)
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


def label(folder: Path, name: str) -> None:
    """Ask a person how a report's stories end, and write the report anew with what all people say."""
    file, evaluation = labels_file(folder, name), report.read(folder)
    endings = evaluation["endings"]
    stories = [story["text"] for checkpoint in evaluation["checkpoints"] for story in checkpoint["stories"]]
    read_labels(folder, endings)  # what is wrong with anybody's is said before, not behind all the answers
    check_terminal()
    with LabelLines.claimed(str(file), f"--label {folder}") as answers:
        label_stories(stories, endings, answers)
    evaluation = with_labels(evaluation, read_labels(folder, endings))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".report-") as temporary:
        report.write(evaluation, Path(temporary))
        move_files(Path(temporary), folder, report.WRITTEN)  # the folder stays: others may be labelling in it
    print(f"\n{report.raters_table(evaluation)}\n\n{report.agreement_table(evaluation)}")
    print(f"written to {folder}; your answers are in {file}")


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    if (settings.label is None) != (settings.by is None):
        raise InputError("--label and --by: name both, the report and yourself")
    if settings.label is not None and settings.by is not None:
        if settings != Settings(label=settings.label, by=settings.by):
            raise InputError("--label: takes no other option than --by; the report is as it was measured")
        label(Path(settings.label), settings.by)
        return
    output = Path(settings.output)
    with claimed_folder(output, settings.overwrite, report.WRITTEN, "an evaluation") as folder:
        evaluation = evaluate(settings, folder)
    print(report.metrics_table(evaluation))
    print(f"\n{report.raters_table(evaluation)}\n\n{report.agreement_table(evaluation)}")
    print(f"written to {output}")


if __name__ == "__main__":
    run(main)
