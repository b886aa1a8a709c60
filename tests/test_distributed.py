"""Two processes on gloo train as one does."""

import os
import signal
import sys
from pathlib import Path

import pytest
import torch

import finetune
import run_folder
from distributed import Ranks
from tests.conftest import tiny_model
from tests.hub_user import ROOT
from tests.trainee import finish, start, wait_until


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory, data: str) -> list[str]:
    base = tmp_path_factory.mktemp("base")
    tiny_model(embedding_dim=16, num_heads=2).save_pretrained(base)
    given = ["--checkpoint", str(base), "--data", data, "--epochs", "2", "--batch-size", "9", "--lr", "1e-3"]
    return [*given, "--grad-clip", "1", "--micro-batch-tokens", "700", "--log-every", "2", "--stories", "0"]


def together(*arguments: str) -> list[str]:
    """The command of a run of two processes."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return [sys.executable, *torchrun, str(ROOT / "finetune.py"), *arguments]


def figures(output: Path) -> list[dict[str, float]]:
    names = ("step", "epoch", "loss", "gradient_norm", "lr", "validation_loss")
    return [{k: v for k, v in line.items() if k in names} for line in run_folder.read_metrics(output)]


def assert_alike(output: Path, other: Path) -> None:
    """The same to rounding. (Not weight by weight: Adam makes steps of what is all rounding, too.)"""
    lines, expected = figures(output), figures(other)
    assert [line["step"] for line in lines] == [line["step"] for line in expected]
    for line, expected_line in zip(lines, expected, strict=True):
        assert line == pytest.approx(expected_line, rel=1e-4)


def test_two_processes_train_as_one_and_one_goes_on_from_two(arguments: list[str], tmp_path: Path) -> None:
    """28 examples in steps of 9, so the last step of an epoch has one, for one of the processes."""
    alone, both, half = tmp_path / "alone", tmp_path / "both", tmp_path / "half"
    finetune.main([*arguments, "--output", str(alone)])
    status, stdout, stderr = finish(start(together(*arguments, "--output", str(both))))
    assert status == 0, stderr
    assert stdout.count("compute:") == stdout.count("checkpoints in") == 1
    assert "in 2 processes" in stdout
    assert_alike(both, alone)

    status, _, stderr = finish(start(together(*arguments, "--output", str(half), "--epochs", "1")))
    assert status == 0, stderr
    finetune.main([*arguments, "--output", str(half), "--resume"])
    assert_alike(half, alone)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_ends_the_run_with_a_clear_line(
    victim: int, arguments: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    run = start(together(*arguments, "--output", str(output), "--epochs", "5000"))
    wait_until(lambda: (output / "training_state.pt").exists(), run)
    os.kill(rank(run.pid, victim), signal.SIGKILL)
    status, _, stderr = finish(run)
    assert status == 1
    said = [line for line in stderr.splitlines() if "error: " in line]
    assert len(said) == 1
    assert f"process {1 - victim}: another process of this run ended" in said[0]
    assert "--resume" in said[0]
    step = torch.load(output / "training_state.pt", weights_only=True)["progress"]["step"]
    finetune.main(
        [*arguments, "--output", str(output), "--resume", "--epochs", "5000", "--max-steps", str(step + 1)]
    )


def rank(parent: int, number: int) -> int:
    """The process of a rank, from /proc (see proc(5))."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if f"RANK={number}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError(f"torchrun has no rank {number}")


def test_a_signal_to_torchrun_saves_first(arguments: list[str], tmp_path: Path) -> None:
    output = tmp_path / "run"
    given = [*arguments, "--epochs", "10000", "--save-minutes", "99"]
    run = start(together(*given, "--output", str(output)))
    wait_until(lambda: (output / "training_state.pt").exists(), run)
    run.send_signal(signal.SIGTERM)
    _, stdout, stderr = finish(run)
    assert "and saved; go on with the same command and --resume" in stdout
    assert " error: " not in stderr


def test_bad_input_is_told_once(arguments: list[str], tmp_path: Path) -> None:
    missing = [*arguments, "--output", str(tmp_path / "run"), "--data", str(tmp_path / "nowhere")]
    status, _, stderr = finish(start(together(*missing)))
    assert status == 1
    said = [line for line in stderr.splitlines() if "error: " in line]
    assert any("nowhere: no such folder" in line for line in said)
    assert len([line for line in said if "nowhere" in line]) == 1


def test_a_process_alone_needs_no_others() -> None:
    assert Ranks.here() == Ranks(0, 1, 0)
    assert Ranks().any(True, False) == [True, False]
