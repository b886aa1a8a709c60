"""What `--dry-run` says, against a run that was made."""

import re
from pathlib import Path

import pytest

import finetune
from common.checkpoints import CHECKPOINT
from training import run_folder


def said(arguments: list[str], output: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, list[float]]:
    """The numbers of each line, by its first word."""
    capsys.readouterr()
    finetune.main([*arguments, "--output", str(output), "--dry-run"])
    return {
        line.split()[0]: [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\.?\d*", line)]
        for line in capsys.readouterr().out.splitlines()
    }


@pytest.mark.parametrize("more", [[], ["--keep-epochs", "1"], ["--max-steps", "9"]])
def test_a_dry_run_says_what_a_run_takes_and_writes_nothing(
    more: list[str], data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--model-size", "nano", "--data", data, "--epochs", "2", "--batch-size", "4", "--stories", "0"]
    figures = said([*given, *more], tmp_path / "run", capsys)
    assert not (tmp_path / "run").exists()
    finetune.main([*given, *more, "--output", str(tmp_path / "run")])
    lines = run_folder.read_metrics(tmp_path / "run")
    assert figures["steps"][0] == lines[-1]["step"]
    files = [path for path in (tmp_path / "run").rglob("*") if path.name in (*CHECKPOINT, run_folder.STATE)]
    assert figures["disk"][0] == pytest.approx(sum(path.stat().st_size for path in files) / 1e9, abs=0.006)
    assert figures["memory"][0] == pytest.approx(lines[-2]["memory_gb"], rel=0.5)
    assert figures["time"][0] < 10


def test_a_dry_run_counts_what_is_left_and_changes_no_run(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    given = ["--model-size", "nano", "--data", data, "--epochs", "1", "--batch-size", "4", "--stories", "0"]
    finetune.main([*given, "--output", str(output), "--max-steps", "3"])
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    figures = said([*given, "--resume"], output, capsys)
    assert figures["steps"][0] == 28 / 4 - 3
    assert before == {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
