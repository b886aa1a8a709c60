from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import finetune
from tiny import tiny_model
from training import run_folder
from training.monitor import TOPICS


def test_a_run_shows_curves_stories_and_a_picture(
    checkpoint: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    given = ["--checkpoint", checkpoint, "--data", data, "--output", str(output), "--tensorboard"]
    finetune.main([*given, "--epochs", "2", "--batch-size", "4", "--log-every", "2", "--stories", "2"])
    lines = run_folder.read_metrics(output)
    logged = [line for line in lines if "loss" in line]
    board = EventAccumulator(str(output / "tensorboard"))
    board.Reload()
    for name in ("loss", "lr", "gradient_norm", "tokens_per_second", "padding", "memory_gb"):
        points = [(event.step, event.value) for event in board.Scalars(name)]
        assert points == [(line["step"], pytest.approx(line[name])) for line in logged]
    validated = [line["step"] for line in lines if "validation_loss" in line]
    assert [event.step for event in board.Scalars("validation_loss")] == validated
    assert [event.step for event in board.Tensors("stories/text_summary")] == validated
    for step in validated:
        text = (output / "stories" / f"step_{step}.txt").read_text()
        for topic in TOPICS[:2]:
            assert f"--- {topic}  [happy]" in text
            assert f"--- {topic}  [sad]" in text
    assert imread(output / "loss.png").std() > 0
    printed = capsys.readouterr().out
    for line in lines:
        if "validation_loss" in line:
            assert f"| {line['epoch']} | {line['step']} |" in printed


def test_curves_go_on_where_a_run_goes_on(checkpoint: str, data: str, tmp_path: Path) -> None:
    given = ["--checkpoint", checkpoint, "--data", data, "--output", str(tmp_path / "run"), "--tensorboard"]
    given += ["--batch-size", "4", "--log-every", "1", "--stories", "0", "--resume"]
    finetune.main([*given, "--max-steps", "2"])
    finetune.main([*given, "--max-steps", "5"])
    board = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("loss")] == [1, 2, 3, 4, 5]


def test_a_context_too_short_for_the_topics_gets_one_clear_line(
    data: str, tmp_path: Path, complaint: Callable
) -> None:
    tiny_model(context_length=24).save_pretrained(tmp_path / "short")
    given = ["--checkpoint", tmp_path / "short", "--data", data, "--output", tmp_path / "run"]
    assert "--stories 0" in complaint(finetune.main, *given, "--max-steps", "1")
    assert not (tmp_path / "run" / "run.json").exists()
    finetune.main([*map(str, given), "--max-steps", "1", "--stories", "0"])
