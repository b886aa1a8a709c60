"""quantize.py through its command line, and its checkpoint through the others'."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

import evaluate
import finetune
import generate
from fake_hub import WRITER, FakeHub
from hub_user import STORY, User
from model import load_model
from quantize import main


@pytest.fixture(scope="module")
def small(checkpoint: str, data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "int8"
    main(["--checkpoint", checkpoint, "--output", str(folder), "--data", data, "--examples", "20"])
    return folder


def test_it_writes_a_checkpoint_with_a_card_and_what_it_cost(small: Path, checkpoint: str) -> None:
    assert {file.name for file in small.iterdir()} == {
        "model.safetensors",
        "config.json",
        "README.md",
        "int8.json",
    }
    assert load_model(small).is_int8
    report = json.loads((small / "int8.json").read_text())
    figures = {name: values for name, *values in report["figures"]}
    for place, file in enumerate((Path(checkpoint) / "model.safetensors", small / "model.safetensors")):
        assert figures["bytes"][place] == f"{file.stat().st_size:,}"
    assert report["examples"] == 20
    perplexities = [float(cell.split()[0]) for cell in figures["perplexity, story alone"]]
    assert perplexities[1] == pytest.approx(perplexities[0], rel=0.05)
    assert set(figures) == {"bytes", "tokens a second", "perplexity, story alone", "preference"}
    card = (small / "README.md").read_text()
    assert all(cell in card for row in report["figures"] for cell in row)


def test_the_figures_are_those_of_evaluate(
    small: Path, checkpoint: str, data: str, tmp_path: Path, elsewhere: Path
) -> None:
    main(["--checkpoint", checkpoint, "--output", "all", "--data", data, "--examples", "10000"])
    output = str(tmp_path / "evaluation")
    options = ["--topics", "2", "--num-stories", "1", "--ending-strength", "1", "--max-tokens", "5"]
    evaluate.main(["--checkpoint", checkpoint, "all", "--data", data, "--output", output, *options])
    evaluated = json.loads((Path(output) / "evaluation.json").read_text())["checkpoints"]
    figures = {name: values for name, *values in json.loads(Path("all/int8.json").read_text())["figures"]}
    for place in (0, 1):
        metrics = evaluated[place]["metrics"]
        value = metrics["perplexity, story alone"]["value"]
        assert figures["perplexity, story alone"][place].split()[0] == f"{value:.3f}"
        assert figures["preference"][place].split()[0] == f"{metrics['preference']['value']:.1%}"


def test_by_default_it_lies_beside_the_checkpoint(checkpoint: str, elsewhere: Path) -> None:
    shutil.copytree(checkpoint, "run/best")
    main(["--checkpoint", "run/best", "--examples", "0"])
    assert load_model("run/int8").is_int8
    assert "preference" not in Path("run/int8/README.md").read_text()
    assert "held-out" not in Path("run/int8/README.md").read_text()
    for path, place in (("run/last", "run/last/model.safetensors"), ("run/epoch_1", ".")):
        shutil.copytree(checkpoint, path)
        shutil.rmtree("run/int8")
        with contextlib.chdir(path if place == "." else "."):
            main(["--checkpoint", place, "--examples", "0"])
        assert load_model("run/int8").is_int8


def test_what_is_pushed_tells_the_same_story_from_the_hub(
    small: Path, hub: FakeHub, user: User, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    author = User(tmp_path / "author", token=WRITER)
    author.succeed("sharing.push", "--folder", small, "--push-to-hub", "author/small")
    told = user.succeed(*STORY, "--checkpoint", "author/small").stdout
    capsys.readouterr()
    generate.main([*STORY[1:], "--checkpoint", str(small)])
    assert told == capsys.readouterr().out
    assert "--output: none given for author/small" in user.fail(
        "quantize.py", "--checkpoint", "author/small", "--examples", "0"
    )


def test_bad_input_gets_one_clear_line_and_changes_nothing(
    small: Path, checkpoint: str, data: str, raw: str, tmp_path: Path, elsewhere: Path, complaint: Callable
) -> None:
    best = tmp_path / "best"
    shutil.copytree(checkpoint, best)
    before = load_file(best / "model.safetensors")
    good = {"--checkpoint": str(best), "--output": "out", "--data": data, "--examples": "3"}
    for bad, said in (
        ({"--checkpoint": str(small)}, "has int8 weights already"),
        ({"--checkpoint": "nowhere"}, "nowhere: no such file or folder"),
        ({"--output": str(best)}, "--output"),
        ({"--output": str(best), "--overwrite": None}, "is where the checkpoint lies"),
        ({"--output": f"{best}/../best", "--overwrite": None}, "is where the checkpoint lies"),
        ({"--output": str(small)}, "add --overwrite"),
        ({"--output": checkpoint, "--overwrite": None}, "holds something else than int8 weights"),
        ({"--output": "/proc/out"}, "cannot be written"),
        ({"--data": raw}, "--data"),
        ({"--data": "nowhere"}, "--data nowhere: no such folder"),
        ({"--data": __file__}, "must be JSON Lines (.jsonl) or CSV (.csv)"),
        ({"--examples": "1"}, "intervals need two"),
        ({"--examples": "-1"}, "--examples -1: must be at least 0"),
        ({"--seed": "-1"}, "--seed -1: must be at least 0"),
        ({"--model-size": "31m"}, "30m"),
    ):
        arguments = [part for pair in {**good, **bad}.items() for part in pair if part is not None]
        assert said in complaint(main, *arguments), bad
    assert not list(elsewhere.iterdir())
    after = load_file(best / "model.safetensors")
    assert all((after[name] == weight).all() for name, weight in before.items())


def test_int8_weights_are_not_trained(small: Path, data: str, complaint: Callable) -> None:
    answer = complaint(finetune.main, "--checkpoint", str(small), "--data", data, "--output", "out")
    assert "int8 weights cannot be trained" in answer
    assert not Path("out").exists()
