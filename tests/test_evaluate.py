import io
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import datasets
import pytest
import torch
from huggingface_hub import ModelCard
from matplotlib.image import imread

import evaluate
import finetune
from common.endings import ENDINGS
from dataset import format_instruction, get_tokenizer, load_data, read_examples
from evaluation import pictures
from evaluation.likelihood import OVER_BASE, encode_trials, score, text_losses
from evaluation.requests import CONTRARY, HELD_OUT, LONG
from generate import choose_token
from inference.sampling import Sampling
from inference.stories import Request, tell_stories
from model import GPT2, load_model
from tiny import tiny_model

FEW = ["--topics", "4", "--hard-topics", "3", "--num-stories", "2", "--max-tokens", "30"]
FEW += ["--ending-strength", "2"]
FEWEST = ["--topics", "2", "--hard-topics", "0", "--num-stories", "1", "--max-tokens", "5"]
FEWEST += ["--ending-strength", "1"]


def read(output: Path) -> dict:
    return json.loads((output / "evaluation.json").read_text())


def write_data(folder: Path, train: Sequence[tuple], validation: Sequence[tuple]) -> str:
    """A prepared data set of (topic, ending, story)."""
    folder.mkdir()
    for split, examples in {"train": train, "validation": validation}.items():
        columns = {
            "instruction": [format_instruction(topic, ending) for topic, ending, _ in examples],
            "response": [story for *_, story in examples],
            "ending": [ending for _, ending, _ in examples],
        }
        if examples:
            datasets.Dataset.from_dict(columns).to_parquet(folder / f"{split}.parquet")
    return str(folder)


SMILES, CRIES = "The boy ran home. He smiled.", "The boy ran home. He cried."
TRAIN = [(f"train {i}", *example) for i in range(4) for example in (("happy", SMILES), ("sad", CRIES))]
EXAMPLES = [(f"topic {i}", *example) for i in range(4) for example in (("happy", SMILES), ("sad", CRIES))]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory, checkpoint: str, data: str) -> Path:
    """Two checkpoints, measured."""
    other = tmp_path_factory.mktemp("other") / "other"
    tiny_model(seed=3).save_pretrained(other)
    folder = tmp_path_factory.mktemp("evaluated") / "evaluation"
    given = ["--checkpoint", checkpoint, str(other), "--data", data, "--output", str(folder)]
    evaluate.main([*given, *FEW])
    return folder


def test_every_figure_has_an_interval_around_it(output: Path) -> None:
    evaluation = read(output)
    assert len(evaluation["checkpoints"]) == 2
    figures = [
        *evaluation["judges"].values(),
        *({key: pair[key] for key in ("agreement", "kappa")} for pair in evaluation["agreement"]),
        evaluation["true stories"],
        *(checkpoint["metrics"] for checkpoint in evaluation["checkpoints"]),
    ]
    for checkpoint in evaluation["checkpoints"]:
        assert [point.pop("strength") for point in checkpoint["strengths"]] == [1, 2]
        figures += checkpoint["strengths"]
    for name, figure in ((name, figure) for metrics in figures for name, figure in metrics.items()):
        if figure["value"] is not None:
            assert figure["low"] - 1e-9 <= figure["value"] <= figure["high"] + 1e-9, name
    names = evaluation["checkpoints"][0]["metrics"]
    for name in ("loss", "perplexity, sad stories", "preference AUC", "adherence, sad", "end by themselves"):
        assert name in names


def test_losses_and_preference_are_those_of_all_validation_examples(
    output: Path, data: str, model: GPT2
) -> None:
    trials = encode_trials(read_examples(load_data(data)[0]["validation"]), ENDINGS, model.config)
    losses = score(model, trials)
    tokens = sum(len(trial.targets) for trial in trials)
    prompt_tokens = sum(len(trial.asked) - 1 for trial in trials)
    own = [trial.own for trial in trials]
    mine, other = (losses.story[range(len(own)), [(i + n) % 2 for i in own]] for n in (0, 1))
    metrics = read(output)["checkpoints"][0]["metrics"]
    plain, plain_tokens = text_losses(
        model, [example.story for example in read_examples(load_data(data)[0]["validation"])]
    )
    expected = {
        "loss, plain stories": plain.sum() / plain_tokens.sum(),
        "loss": (losses.prompt + mine).sum() / (tokens + prompt_tokens),
        "loss, story alone": mine.sum() / tokens,
        "preference margin": (other - mine).mean(),
    }
    for name, value in expected.items():
        assert metrics[name]["value"] == pytest.approx(value, rel=1e-6), name


def test_figures_are_those_of_the_stories_that_are_shown(output: Path, model: GPT2) -> None:
    measured = read(output)["checkpoints"][0]
    metrics = measured["metrics"]
    stories = [story for story in measured["stories"] if story["topics"] == HELD_OUT]
    assert len(stories) == 4 * 2 * 2
    requests = [Request(story["topic"], story["ending"], story["seed"]) for story in stories]
    told = tell_stories(model, requests, Sampling(30, temperature=0.7), choose_token)
    assert [story.text for story in told] == [story["text"] for story in stories]
    pairs = list(zip(stories[::2], stories[1::2], strict=True))
    for happy, sad in pairs:
        assert (happy["topic"], happy["seed"]) == (sad["topic"], sad["seed"])
        assert (happy["ending"], sad["ending"]) == ENDINGS
    for ending in ENDINGS:
        asked = [story for story in stories if story["ending"] == ending]
        right = sum(story["judged"]["words"] == ending for story in asked) / len(asked)
        assert metrics[f"adherence, {ending}"]["value"] == right
    split = sum(all(s["judged"]["words"] == s["ending"] for s in pair) for pair in pairs) / len(pairs)
    assert metrics["pairs that split as asked"]["value"] == split
    complete = sum(story["complete"] for story in stories) / len(stories)
    assert metrics["end by themselves"]["value"] == complete


def test_the_report_shows_figures_pictures_and_stories(
    output: Path, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, evaluation = (output / "report.md").read_text(), read(output)
    preference = evaluation["checkpoints"][1]["metrics"]["preference"]
    assert f"| {preference['value']:.1%} [{100 * preference['low']:.1f}, " in text
    pair = evaluation["agreement"][0]
    assert pair["raters"] == ["words", "valence"]
    agreement, kappa = (pair[name]["value"] for name in ("agreement", "kappa"))
    assert re.search(
        rf"\| words and valence +\| {pair['stories']} +\| {agreement:.1%} .*\| {kappa:.2f} ", text
    )
    for picture in ("endings.png", "strength.png"):
        assert f"]({picture})" in text
        assert imread(output / picture).std() > 0
    for story in evaluation["checkpoints"][0]["stories"]:
        assert text.count(f"**{story['topic']}**") == (2 if story["topics"] == HELD_OUT else 0)


def test_the_same_command_gives_the_same_numbers_and_another_seed_others(
    checkpoint: str, data: str, tmp_path: Path
) -> None:
    def told(name: str, seed: str) -> dict[str, bytes]:
        given = ["--checkpoint", checkpoint, "--data", data, "--output", str(tmp_path / name)]
        evaluate.main([*given, *FEW, "--seed", seed, "--overwrite"])
        return {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}

    one, other = told("same", "1"), told("other", "2")
    assert told("same", "1") == one
    assert one["evaluation.json"] != other["evaluation.json"]


def test_harder_topics_forgetting_and_fluency_stand_beside_the_plain_figures(
    checkpoint: str, data: str, tmp_path: Path
) -> None:
    """Each figure is what its stories say; the first column has none beside its own loss."""
    other = tmp_path / "other"
    tiny_model(seed=3).save_pretrained(other)
    (tmp_path / "plain.txt").write_text("A dog ran.\n<|endoftext|>\nIt came back.\n<|endoftext|>\n")
    given = ["--checkpoint", checkpoint, str(other), "--data", data, *FEW, "--ending-strength", "1"]
    evaluate.main([*given, "--plain", str(tmp_path / "plain.txt"), "--fluency-by", str(other)])
    evaluation = read(Path("report"))
    losses = []
    for measured, folder in zip(evaluation["checkpoints"], (checkpoint, str(other)), strict=True):
        metrics, stories = measured["metrics"], measured["stories"]
        for kind in (CONTRARY, LONG):
            hard = [story for story in stories if story["topics"] == kind]
            assert len({story["topic"] for story in hard}) == 3
            for ending in {story["ending"] for story in hard}:
                asked = [story for story in hard if story["ending"] == ending]
                right = sum(story["judged"]["words"] == ending for story in asked) / len(asked)
                assert metrics[f"adherence, {ending}, {kind}"]["value"] == pytest.approx(right)
        loss, tokens = text_losses(load_model(folder), ["A dog ran.", "It came back."])
        losses.append(loss.sum() / tokens.sum())
        assert metrics["loss, plain stories"]["value"] == pytest.approx(losses[-1], rel=1e-5)
        more = metrics.get(OVER_BASE)
        if folder is checkpoint:
            assert more is None
        else:
            assert more["value"] == pytest.approx(losses[-1] - losses[0], abs=1e-5)
        told = [story for story in stories if story["topics"] == HELD_OUT]
        complete = [story["complete"] for story in told]
        loss, tokens = text_losses(load_model(other), [story["text"] for story in told], complete)
        fluency = math.exp(loss.sum() / tokens.sum())
        assert metrics["perplexity, told stories"]["value"] == pytest.approx(fluency, rel=1e-4)
    assert evaluation["true stories"]["perplexity, told stories"]["value"] > 0
    assert evaluation["plain"] == {"stories": 2, "name": "plain.txt"}


def ending_words_swapped(model: GPT2) -> GPT2:
    """The same model with the embeddings of " happy" and " sad" exchanged."""
    happy, sad = (get_tokenizer().encode_single_token(f" {ending}") for ending in ENDINGS)
    swapped = GPT2(**vars(model.config)).eval()
    swapped.load_state_dict(model.state_dict())
    with torch.no_grad():
        embedding = swapped.embeddings.token_embedding.weight
        embedding[[happy, sad]] = embedding[[sad, happy]]
    return swapped


def test_a_checkpoint_whose_ending_words_were_swapped_scores_as_its_mirror_image(tmp_path: Path) -> None:
    """The model draws its words from the true stories and never says happy or sad itself."""
    model = tiny_model(vocab_size=50257, context_length=128)
    encode = get_tokenizer().encode_ordinary
    vocabulary = {i for _, _, story in EXAMPLES for text in (story, f" {story}") for i in encode(text)}
    with torch.no_grad():
        model.output_layer.bias.fill_(-60)
        model.output_layer.bias[list(vocabulary)] = 0
    model.save_pretrained(tmp_path / "model")
    ending_words_swapped(model).save_pretrained(tmp_path / "swapped")
    data = write_data(tmp_path / "data", TRAIN, EXAMPLES)
    given = ["--checkpoint", str(tmp_path / "model"), str(tmp_path / "swapped"), "--data", data]
    evaluate.main([*given, *FEW, "--ending-strength", "1", "--temperature", "2"])
    one, mirror = (checkpoint["metrics"] for checkpoint in read(Path("report"))["checkpoints"])
    assert all(0 < one[f"adherence, {ending}"]["value"] < 1 for ending in ENDINGS)
    assert one["preference margin"]["value"] != 0
    for name, expected in {
        "preference": 1 - one["preference"]["value"],
        "preference, happy stories": 1 - one["preference, happy stories"]["value"],
        "preference, sad stories": 1 - one["preference, sad stories"]["value"],
        "preference margin": -one["preference margin"]["value"],
        "preference AUC": 1 - one["preference AUC"]["value"],
        "adherence, happy": 1 - one["adherence, sad"]["value"],
        "adherence, sad": 1 - one["adherence, happy"]["value"],
        "adherence, balanced": 1 - one["adherence, balanced"]["value"],
        "words": one["words"]["value"],
    }.items():
        assert mirror[name]["value"] == pytest.approx(expected, abs=1e-4), name


def test_topics_that_training_has_too_are_neither_told_about_nor_judged(
    checkpoint: str, tmp_path: Path, complaint: Callable
) -> None:
    leaked = write_data(tmp_path / "leaked", TRAIN + EXAMPLES[:4], EXAMPLES)
    evaluate.main(["--checkpoint", checkpoint, "--data", leaked, *FEW])
    evaluation = read(Path("report"))
    stories = evaluation["checkpoints"][0]["stories"]
    told = {story["topic"] for story in stories if story["topics"] == HELD_OUT}
    assert told == {topic for topic, *_ in EXAMPLES[4:]}
    assert (evaluation["examples"], evaluation["unseen"]) == (8, 4)
    wrong = write_data(tmp_path / "wrong", TRAIN, [*EXAMPLES, ("train 0", "sad", SMILES)])
    evaluate.main(["--checkpoint", checkpoint, "--data", wrong, *FEW, "--overwrite"])
    assert read(Path("report"))["judges"]["words"]["adherence, sad"]["value"] == 1
    known = write_data(tmp_path / "known", EXAMPLES, EXAMPLES)
    said = complaint(evaluate.main, "--checkpoint", checkpoint, "--data", known, "--overwrite")
    assert "--data: 0 of its validation topics are not in its train split" in said


def test_a_story_may_take_what_the_context_leaves(checkpoint: str, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", TRAIN, EXAMPLES)
    evaluate.main(["--checkpoint", checkpoint, "--data", data, *FEW[:6], "--ending-strength", "1"])
    (measured,) = read(Path("report"))["checkpoints"]
    prompts = [format_instruction(topic, ending) for topic, ending, _ in EXAMPLES]
    longest = max(len(get_tokenizer(512).encode_ordinary(prompt)) for prompt in prompts)
    assert measured["max_tokens"] == 384 - longest
    assert len(measured["strengths"]) == 1
    assert not Path("report/strength.png").exists()


def test_shares_go_into_the_card_and_nowhere_else(checkpoint: str, data: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    finetune.main(["--checkpoint", checkpoint, "--data", data, "--output", str(run), "--max-steps", "1"])
    card = run / "last" / "README.md"
    before = card.read_text()
    given = ["--checkpoint", str(run / "last"), "--data", data, *FEW, "--overwrite"]
    evaluate.main(given)
    assert card.read_text() == before
    evaluate.main([*given, "--update-card"])
    metrics = read(Path("report"))["checkpoints"][0]["metrics"]
    happy, sad = (metrics[f"adherence, {ending}"]["value"] for ending in ENDINGS)
    said = rf"as asked: {happy:.1%} \[.*\] of the happy ones, {sad:.1%} \[.*\] of the sad ones .* stories\)"
    assert re.search(said, card.read_text())
    results = {
        result.metric_type: result.metric_value for result in ModelCard.load(card).data.eval_results or []
    }
    assert results["sad endings as asked"] == sad
    load_model(run / "last")


def test_harder_topics_that_do_not_fit_are_named(tmp_path: Path, complaint: Callable) -> None:
    """A short context, in which the data's prompts leave room and long topics leave none."""
    tiny_model(vocab_size=50257, context_length=40).save_pretrained(tmp_path / "short")
    data = write_data(tmp_path / "data", TRAIN, EXAMPLES)
    given = ["--checkpoint", str(tmp_path / "short"), "--data", data, "--topics", "2", "--num-stories", "1"]
    given += ["--ending-strength", "1", "--hard-topics"]
    said = complaint(evaluate.main, *given, "50")
    assert re.search(
        r"--hard-topics 50: makes a prompt of \d+ tokens, the model reads 40; 0 leaves them out", said
    )
    assert "--hard-topics 1: of one topic nothing can be said" in complaint(evaluate.main, *given, "1")
    evaluate.main([*given, "0"])


class Replacing(io.StringIO):
    """A screen; when it shows that something is measured, a file takes the place of another."""

    def __init__(self, file: Path, place: Path) -> None:
        super().__init__()
        self.file, self.place = file, place

    def write(self, text: str) -> int:
        if text.startswith("measure") and self.file.exists():
            os.replace(self.file, self.place)
        return super().write(text)


def test_the_card_of_weights_that_were_replaced_while_they_were_measured_stays(
    checkpoint: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    finetune.main(["--checkpoint", checkpoint, "--data", data, "--output", str(run), "--max-steps", "1"])
    cards = [run / name / "README.md" for name in ("last", "best")]
    before = [card.read_text() for card in cards]
    tiny_model(seed=3).save_pretrained(tmp_path / "other")
    weights = run / "last" / "model.safetensors"
    with redirect_stdout(Replacing(tmp_path / "other" / "model.safetensors", weights)):
        given = ["--checkpoint", *(str(card.parent) for card in cards), "--data", data, *FEWEST]
        evaluate.main([*given, "--update-card"])
    assert [card.read_text() == text for card, text in zip(cards, before, strict=True)] == [True, False]
    assert f"{weights} has been replaced since it was measured; its card stays" in capsys.readouterr().err


def test_columns_have_short_names_where_these_differ() -> None:
    def labels(*names: str) -> list[str]:
        return pictures.column_names({"checkpoints": [{"name": name} for name in names]})

    assert labels("runs/a/best", "runs/b/best") == ["a/best", "b/best"]
    assert labels("x/run/best", "y/run/best") == ["x/run/best", "y/run/best"]
    assert labels("you/a", "you/a@v1") == ["you/a", "you/a@v1"]


def test_what_a_story_says_is_plain_text_in_the_report(checkpoint: str, tmp_path: Path) -> None:
    odd = [(f"a <b>dog</b> | *{i}*", *rest) for i, (_, *rest) in enumerate(EXAMPLES)]
    data = write_data(tmp_path / "data", TRAIN, odd)
    evaluate.main(["--checkpoint", checkpoint, "--data", data, *FEW])
    text = Path("report/report.md").read_text()
    assert "<b>" not in text
    assert r"a &lt;b&gt;dog&lt;/b&gt; \| \*" in text


def test_one_ending_alone_is_measured_as_far_as_it_goes(checkpoint: str, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", TRAIN, [row for row in EXAMPLES if row[1] == "happy"])
    evaluate.main(["--checkpoint", checkpoint, "--data", data, *FEW])
    metrics = read(Path("report"))["checkpoints"][0]["metrics"]
    assert metrics["preference, sad stories"] == {"value": None, "low": None, "high": None}
    assert not math.isnan(metrics["preference, happy stories"]["value"])


def test_bad_input_gets_one_clear_line(
    checkpoint: str, data: str, tmp_path: Path, complaint: Callable
) -> None:
    tiny_model(context_length=24).save_pretrained(tmp_path / "short")
    shutil.copytree(data, tmp_path / "lacking")
    datasets.Dataset.from_dict({"instruction": ["x"], "response": ["y"]}).to_parquet(
        tmp_path / "lacking" / "validation.parquet"
    )
    columns = {"instruction": ["Tell me"] * 2, "response": ["y"] * 2, "ending": ["sad", "happy"]}
    other = datasets.Dataset.from_dict(columns)
    (tmp_path / "foreign").mkdir()
    for split in ("train", "validation"):
        other.to_parquet(tmp_path / "foreign" / f"{split}.parquet")
    shutil.copytree(tmp_path / "foreign", tmp_path / "confused")
    wrong = columns | {"instruction": [format_instruction("x", "happy")] * 2}
    datasets.Dataset.from_dict(wrong).to_parquet(tmp_path / "confused" / "train.parquet")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary").touch()
    good = {"--checkpoint": checkpoint, "--data": data}
    for bad, said in (
        ({"--data": write_data(tmp_path / "none", TRAIN, [])}, "--data: holds no validation examples"),
        ({"--data": write_data(tmp_path / "one", TRAIN, EXAMPLES[:2])}, "--data: 1 topic to measure on"),
        ({"--data": tmp_path / "lacking"}, "lacking"),
        ({"--data": tmp_path / "foreign"}, "instruction 'Tell me' with the ending"),
        ({"--data": write_data(tmp_path / "no-topic", TRAIN, [("", *EXAMPLES[0][1:])])}, "is no prompt"),
        ({"--data": tmp_path / "confused"}, "with the ending 'sad' is no prompt"),
        ({"--data": tmp_path / "nowhere"}, "no such folder"),
        ({"--checkpoint": tmp_path / "short"}, "leaves no room for a story"),
        ({"--checkpoint": "nowhere/at/all"}, "nowhere/at/all"),
        ({"--topics": "1"}, "--topics 1: must be at least 2"),
        ({"--ending-strength": "-1"}, "--ending-strength -1.0: must be at least 0"),
        ({"--temperature": "nan"}, "--temperature nan"),
        ({"--top-k": "1000"}, "--top-k 1000: the model has 512 tokens"),
        ({"--max-tokens": "380"}, "--max-tokens 380: at most"),
        ({"--output": tmp_path / "mine"}, "is there already"),
        ({"--output": tmp_path / "mine", "--overwrite": None}, "holds something else"),
        ({"--update-card": None}, "--update-card"),
    ):
        arguments = [part for pair in {**good, **bad}.items() for part in pair if part is not None]
        assert said in complaint(evaluate.main, *arguments)
    assert not Path("report").exists()
    assert list((tmp_path / "mine").iterdir()) == [tmp_path / "mine" / "diary"]


def test_without_a_checkpoint_it_says_how_to_get_one(data: str, complaint: Callable) -> None:
    assert "finetune.py --model-size nano" in complaint(evaluate.main, "--model-size", "nano", "--data", data)
