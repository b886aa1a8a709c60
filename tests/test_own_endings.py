"""Somebody's own stories with endings of their own, from a file to a told story."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import DatasetDict

import app
import dataset
import evaluate
import finetune
import generate
import prepare_data
import quantize
from clean_environment import ROOT
from common.endings import ENDINGS_FILE, Taught
from common.own_stories import is_held_out
from dataset import endings_of, get_tokenizer, load_data, read_examples
from fake_hub import WRITER, FakeHub
from hub_user import User, weights
from inference.stories import encode_prompt
from model import GPT2, load_model
from quickstart import RECIPE
from samples import write_stories
from samples.story_grammar import ending_of
from story_lines import THREE, read, write
from tiny import tiny_model


def prepare(source: Path, output: Path, *more: object) -> DatasetDict:
    prepare_data.main(["--source", str(source), "--output", str(output), *map(str, more)])
    return load_data(str(output))[0]


def rows(data: DatasetDict, split: str) -> list[tuple[str, ...]]:
    return sorted(tuple(row.values()) for row in data[split].to_list())


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with more sad stories than happy ones, and fewest funny ones."""
    file = tmp_path_factory.mktemp("own") / "stories.jsonl"
    write_stories.main(["--output", str(file), "--stories", "400"])
    keep = {"funny": 60, "happy": 80, "sad": 100}
    return write(file, [line for ending in THREE for line in of(read(file), ending)[: keep[ending]]])


def of(lines: list[dict[str, str]], ending: str) -> list[dict[str, str]]:
    return [line for line in lines if line["ending"] == ending]


@pytest.fixture(scope="module")
def mine(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    output = tmp_path_factory.mktemp("own") / "data"
    prepare(stories, output)
    return str(output)


@pytest.fixture(scope="module")
def run(checkpoint: str, mine: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on three endings."""
    output = tmp_path_factory.mktemp("own") / "run"
    given = ["--checkpoint", checkpoint, "--data", mine, "--output", str(output), "--max-steps", "2"]
    finetune.main([*given, "--stories", "1"])
    return output


def test_as_many_of_each_ending_as_the_rarest_has(mine: str, stories: Path) -> None:
    data, _ = load_data(mine)
    assert endings_of(data) == THREE
    lines = read(stories)
    told = {(line["topic"], line["ending"], line["story"]) for line in lines}
    for split, held_out in (("train", False), ("validation", True)):
        examples = read_examples(data[split], THREE)
        assert {*examples} <= told
        source = Counter(line["ending"] for line in lines if is_held_out(line["topic"]) == held_out)
        assert Counter(example.ending for example in examples) == dict.fromkeys(THREE, min(source.values()))
        assert {is_held_out(example.topic) for example in examples} == {held_out}
    counts = json.loads((Path(mine) / "stats.json").read_text())["splits"]["train"]
    assert [counts["kept funny"], counts["kept sad"]] == [counts["funny"]] * 2
    assert counts["funny"] < counts["happy"] < counts["sad"]


def test_the_card_of_own_stories_claims_no_licence_and_no_language(mine: str) -> None:
    card = (Path(mine) / "README.md").read_text()
    assert "`ending` is `funny`, `happy` or `sad`" in card
    assert "every example of the rarest ending, and as many of each other, drawn at random" in card
    assert "| source | `stories.jsonl` |" in card
    for claim in ("license", "language:", "TinyStories", "BadEnding"):
        assert claim not in card


def test_what_is_validated_on_may_be_another_file(stories: Path, tmp_path: Path) -> None:
    lines = read(stories)
    train, validation = write(tmp_path / "t.jsonl", lines[:-50]), write(tmp_path / "v.jsonl", lines[-50:])
    data = prepare(train, tmp_path / "data", "--validation", validation, "--no-balance")
    assert sorted(data["validation"]["response"]) == sorted(line["story"] for line in lines[-50:])


def test_training_takes_a_file_as_it_is(
    stories: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The examples are those of a data set that was prepared without balance."""
    data, origin = load_data(str(stories))
    said = capsys.readouterr().out
    assert origin == {"name": str(stories), "commit": None}
    assert "stories to train on (" in said
    assert "funny, " in said
    prepared = prepare(stories, tmp_path / "data", "--no-balance")
    for split in ("train", "validation"):
        assert rows(data, split) == rows(prepared, split)
    given = ["--checkpoint", checkpoint, "--data", str(stories), "--output", "run", "--max-steps", "1"]
    finetune.main([*given, "--stories", "0"])
    assert json.loads(Path("run/last", ENDINGS_FILE).read_text())["endings"] == list(THREE)
    card = Path("run/last/README.md").read_text()
    assert "with a funny, a happy or a sad ending" in card
    assert str(stories.parent) not in card


def test_a_file_that_is_far_from_balanced_is_named(
    stories: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = read(stories)
    load_data(str(stories))
    assert "not balanced" not in capsys.readouterr().out
    skewed = write(tmp_path / "skewed.jsonl", [*of(lines, "happy")[:10], *of(lines, "sad")])
    load_data(str(skewed))
    assert f"note: not balanced; prepare_data.py --source {skewed} makes it so" in capsys.readouterr().out


def test_endings_go_where_the_model_goes(run: Path, mine: str, tmp_path: Path) -> None:
    prompt = "Write a story about: {summary}\nWith: {ending} ending\n\n### Story:\n"
    for folder in ("best", "last", "epoch_1"):
        if (run / folder).is_dir():
            assert load_model(run / folder).taught == Taught(THREE, prompt)
    assert GPT2.from_pretrained(run / "last").taught == Taught(THREE, prompt)
    quantize.main(["--checkpoint", str(run / "last"), "--output", str(tmp_path / "int8"), "--data", mine])
    assert load_model(tmp_path / "int8").taught == Taught(THREE, prompt)
    card = (tmp_path / "int8" / "README.md").read_text()
    assert "with a funny, a happy or a sad ending" in card
    assert "| preference, 33.3% by chance |" in card
    told = (run / "stories" / "step_2.txt").read_text()
    assert [line.rpartition("[")[2] for line in told.splitlines() if line.startswith("---")] == [
        f"{ending}]" for ending in THREE
    ]


def test_endings_come_back_from_the_hub(run: Path, hub: FakeHub, tmp_path: Path) -> None:
    author, reader = User(tmp_path / "author", token=WRITER), User(tmp_path / "reader")
    author.succeed("sharing.push", "--folder", run / "last", "--push-to-hub", "author/odd")
    asked = ["generate.py", "--checkpoint", "author/odd", "--topic", "a dog", "--max-tokens", "5"]
    assert "stories of author/odd end funny, happy or sad" in reader.fail(*asked, "--ending", "odd")
    reader.succeed(*asked, "--ending", "funny", offline=True)
    assert GPT2.from_pretrained("author/odd", cache_dir=tmp_path / "cache").taught.endings == THREE
    hub.add("model", "author/plain", weights(tiny_model(), tmp_path))
    assert GPT2.from_pretrained("author/plain", cache_dir=tmp_path / "cache").taught == Taught()


def test_a_checkpoint_that_says_nothing_is_saved_as_it_was(checkpoint: str, tmp_path: Path) -> None:
    load_model(checkpoint).save_pretrained(tmp_path)
    assert not (tmp_path / ENDINGS_FILE).exists()


def test_generate_asks_for_the_models_endings_and_checks_them(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], complaint: Callable
) -> None:
    command = ["--checkpoint", str(run / "last"), "--topic", "a dog", "--seed", "3", "--max-tokens", "9"]
    said = complaint(generate.main, *command, "--ending", "odd")
    assert said.endswith(f"--ending odd: stories of {run / 'last'} end funny, happy or sad")
    generate.main([*command, "--ending", "funny", "--ending-strength", "2"])
    story = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO("odd\nF\n"))
    generate.main([*command, "--ending-strength", "2"])
    printed = capsys.readouterr()
    assert printed.out == story
    assert printed.err.count("Does it end funny, happy or sad?") == 2


@pytest.mark.parametrize("after", [True, False])
def test_help_lists_the_models_endings(
    run: Path, checkpoint: str, after: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, endings in ((run / "last", "funny, happy or sad"), (checkpoint, "happy or sad")):
        named = ["--checkpoint", str(folder)]
        with pytest.raises(SystemExit) as stop:
            generate.main([*named, "--help"] if after else ["--help", *named])
        assert stop.value.code == 0
        printed = " ".join(capsys.readouterr().out.split())
        assert printed.endswith(f"--ending: stories of {folder} end {endings}")


def test_each_ending_is_measured(run: Path, mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--checkpoint", str(run / "last"), "--data", mine, "--topics", "3", "--num-stories", "2"]
    evaluate.main(
        [*given, "--hard-topics", "0", "--max-tokens", "20", "--ending-strength", "1", "2", "--update-card"]
    )
    evaluation = json.loads(Path("report/evaluation.json").read_text())
    (measured,) = evaluation["checkpoints"]
    assert evaluation["endings"] == list(THREE)
    assert len(measured["stories"]) == 3 * 2 * 3
    for i, story in enumerate(measured["stories"]):
        assert story["ending"] == THREE[i % 3]
        assert story["seed"] == measured["stories"][i - i % 3]["seed"]
    for ending in THREE:
        asked = [
            story["judged"]["words"] == ending for story in measured["stories"] if story["ending"] == ending
        ]
        assert measured["metrics"][f"adherence, {ending}"]["value"] == sum(asked) / 6
        assert f"preference, {ending} stories" in measured["metrics"]
    assert [point["strength"] for point in measured["strengths"]] == [1, 2]
    assert "| preference, 33.3% by chance " in capsys.readouterr().out
    report = Path("report/report.md").read_text()
    assert "likelier under their own ending than under every other: 33.3% by chance" in report
    assert "of the funny, " in report
    assert "of the funny ones, " in (run / "last" / "README.md").read_text()


def test_a_model_is_not_measured_by_endings_that_it_was_not_taught(
    run: Path, data: str, complaint: Callable
) -> None:
    said = complaint(evaluate.main, "--checkpoint", run / "last", "--data", data)
    assert "has the endings happy, sad; the model was taught funny, happy, sad" in said


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """TRL's names: prompts, and what follows them."""
    lines = [
        {"prompt": f"Question {i}: how\n are you?\n", "completion": f" Fine, {i}.\n"} for i in range(200)
    ]
    return write(tmp_path / "pairs.jsonl", lines)


def test_prompt_and_completion_train_as_they_are(
    pairs: Path,
    checkpoint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    complaint: Callable,
) -> None:
    given = ["--checkpoint", checkpoint, "--data", str(pairs), "--output", "run", "--max-steps", "1"]
    finetune.main([*given, "--stories", "1"])
    assert "stories to train on (with no ending to ask for)" in capsys.readouterr().out
    data, _ = load_data(str(pairs))
    prompts = {line["prompt"]: line["completion"] for line in read(pairs)}
    assert {*data["train"]["instruction"], *data["validation"]["instruction"]} == {*prompts}
    assert all(prompts[row["instruction"]] == row["response"] for row in data["train"].to_list())
    assert json.loads(Path("run/last", ENDINGS_FILE).read_text()) == {"endings": [], "prompt": "{summary}"}
    assert Path("run/stories/step_1.txt").read_text().startswith("--- Question ")

    asked = ["--checkpoint", "run/last", "--seed", "3", "--max-tokens", "9"]
    prompt = " a\n b "
    ids = get_tokenizer(512).encode_ordinary(prompt)
    assert encode_prompt(load_model("run/last"), prompt, "") == ids
    monkeypatch.setattr(dataset, "PROMPT", "no matter what {summary} {ending}")
    generate.main([*asked, "--topic", "Question 3: how\n are you?\n"])
    for main, more, said in (
        (
            generate.main,
            [*asked, "--topic", "x", "--ending", "sad"],
            "--ending sad: run/last was taught no",
        ),
        (
            generate.main,
            [*asked, "--topic", "x", "--ending-strength", "2"],
            "the model was taught no endings",
        ),
        (evaluate.main, ["--checkpoint", "run/last", "--data", pairs], "has no endings to ask for"),
        (app.main, ["--checkpoint", "run/last"], "was taught no endings to choose from; use generate.py"),
    ):
        assert said in complaint(main, *more)


def test_prompt_and_completion_are_prepared_too(pairs: Path, checkpoint: str, tmp_path: Path) -> None:
    data = prepare(pairs, tmp_path / "data")
    assert endings_of(data) == ()
    assert {*data["train"]["ending"]} == {""}
    for split in ("train", "validation"):
        assert rows(data, split) == rows(load_data(str(pairs))[0], split)
    card = (tmp_path / "data" / "README.md").read_text()
    assert "`instruction` is a prompt and `response` what follows it; there is no ending to ask for" in card
    assert "balanced" not in card
    given = ["--checkpoint", checkpoint, "--data", str(tmp_path / "data"), "--output", "run"]
    finetune.main([*given, "--max-steps", "1", "--stories", "0"])
    quantize.main(["--checkpoint", "run/last", "--output", "int8", "--data", str(tmp_path / "data")])
    assert load_model("int8").taught == Taught((), "{summary}")


OTHER_PROMPT = "Topic: {summary}. It ends {ending}ly:\n"


def test_another_template_is_stored_with_the_model_and_checked(
    run: Path, mine: str, stories: Path, checkpoint: str, monkeypatch: pytest.MonkeyPatch, complaint: Callable
) -> None:
    asked = ["--topic", "a dog", "--ending", "funny", "--max-tokens", "9"]
    with monkeypatch.context() as changed:
        changed.setattr(dataset, "PROMPT", OTHER_PROMPT)
        said = complaint(generate.main, "--checkpoint", run / "last", *asked)
        assert "was taught the prompt 'Write a story about: {summary}" in said
        assert f"dataset.PROMPT now makes {OTHER_PROMPT!r}" in said
        given = ["--checkpoint", checkpoint, "--output", "run", "--max-steps", "1", "--stories", "0"]
        said = complaint(finetune.main, *given, "--data", mine)
        assert "is no prompt that dataset.format_instruction makes; prepare the data" in said
        finetune.main([*given, "--data", str(stories)])
        generate.main(["--checkpoint", "run/last", *asked])
        assert load_model("run/last").taught == Taught(THREE, OTHER_PROMPT)
    said = complaint(generate.main, "--checkpoint", "run/last", *asked)
    assert f"was taught the prompt {OTHER_PROMPT!r}" in said


def test_a_resumed_run_needs_the_data_and_the_endings_that_it_was_begun_with(
    run: Path, stories: Path, checkpoint: str, tmp_path: Path, complaint: Callable
) -> None:
    output = shutil.copytree(run, tmp_path / "run")
    given = ["--checkpoint", checkpoint, "--output", output, "--max-steps", "3", "--resume", "--stories", "0"]
    before = hashlib.sha256((output / "last" / "model.safetensors").read_bytes()).digest()
    assert "--data holds other examples" in complaint(finetune.main, *given, "--data", stories)
    assert hashlib.sha256((output / "last" / "model.safetensors").read_bytes()).digest() == before


def test_a_file_that_does_not_fit_gets_one_clear_line_and_nothing_is_written(
    checkpoint: str, tmp_path: Path, complaint: Callable
) -> None:
    bad = [{"topic": "a dog", "ending": "sad", "story": ""}, {"topic": "a dog", "ending": "sad"}]
    file = write(tmp_path / "s.jsonl", bad)
    train = ["--checkpoint", checkpoint, "--data", file]
    for main, arguments in ((prepare_data.main, ["--source", file]), (finetune.main, train)):
        said = complaint(main, *arguments, "--output", "out")
        assert f"{file}: line 1: story is empty; line 2: has no story; correct or remove them" in said
        assert not Path("out").exists()


def test_options_that_do_not_go_together_get_one_clear_line(
    stories: Path, raw: str, tmp_path: Path, complaint: Callable
) -> None:
    for arguments, said in (
        (["--source", stories, "--unlabelled", "drop"], "--unlabelled: is for raw records"),
        (["--source", raw, "--validation", stories], "--validation: goes with a file of stories as --source"),
        (["--source", stories, "--validation", tmp_path / "no.jsonl"], "no.jsonl"),
        (["--source", tmp_path / "no.jsonl"], "no.jsonl"),
    ):
        assert said in complaint(prepare_data.main, *arguments, "--output", "out")
        assert not Path("out").exists()


@pytest.mark.slow
def test_three_endings_are_learnt_by_the_command_line(tmp_path: Path) -> None:
    def start(*command: str) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, *command], cwd=tmp_path, env=environment, check=True)

    finetune_py, evaluate_py = (str(ROOT / name) for name in ("finetune.py", "evaluate.py"))
    start("-m", "samples.write_stories", "--output", "mine.jsonl")
    start(str(ROOT / "prepare_data.py"), "--source", "mine.jsonl", "--output", "mine")
    start(finetune_py, *RECIPE, "--data", "mine", "--output", "model")
    measure = ["--num-stories", "2", "--ending-strength", "1"]
    start(evaluate_py, "--checkpoint", "model/last", "--data", "mine", "--topics", "40", *measure)
    evaluation = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    (measured,) = evaluation["checkpoints"]
    for ending in THREE:
        assert evaluation["judges"]["words"][f"adherence, {ending}"]["value"] >= 0.95
        assert measured["metrics"][f"adherence, {ending}"]["value"] >= 0.9
        told = [story for story in measured["stories"] if story["ending"] == ending]
        assert sum(ending_of(story["text"]) == ending for story in told) >= 0.9 * len(told)
    assert measured["metrics"]["preference"]["value"] >= 0.95
