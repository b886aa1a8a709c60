"""Two processes on gloo train as one does."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import finetune
from common.errors import InputError
from forked import Forked, run_script
from tiny import tiny_model
from trainee import torchrun, wait_until
from training import run_folder
from training.distributed import Ranks
from training.trainer import Trainer


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory, data: str) -> list[str]:
    base = tmp_path_factory.mktemp("base")
    tiny_model(embedding_dim=16, num_heads=2).save_pretrained(base)
    given = ["--checkpoint", str(base), "--data", data, "--epochs", "2", "--batch-size", "9", "--lr", "1e-3"]
    return [*given, "--grad-clip", "1", "--micro-batch-tokens", "700", "--log-every", "2", "--stories", "0"]


def together(*arguments: object) -> list[Forked]:
    """The two processes of a run, without torchrun's time to start them."""
    port = free_port()
    return [Forked(_one_of_two, rank, port, *arguments) for rank in (0, 1)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def _one_of_two(rank: int, port: int, *arguments: object) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    run_script("finetune.py", *arguments)


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
    first, second = (process.finish() for process in together(*arguments, "--output", both))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "in 2 processes" in first.stdout
    assert second.stdout == ""
    assert_alike(both, alone)

    for process in together(*arguments, "--output", half, "--epochs", "1"):
        assert process.finish().returncode == 0
    finetune.main([*arguments, "--output", str(half), "--resume"])
    assert_alike(half, alone)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_ends_the_run_with_a_clear_line(
    victim: int, arguments: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    run = torchrun(*arguments, "--output", output, "--epochs", "5000")
    wait_until(lambda: (output / "training_state.pt").exists(), run)
    os.kill(rank(run.pid, victim), signal.SIGKILL)
    done = run.finish()
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if "error: " in line]
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
    run = torchrun(*given, "--output", output)
    wait_until(lambda: (output / "training_state.pt").exists(), run)
    run.send_signal(signal.SIGTERM)
    done = run.finish()
    assert "; go on with the same command and --resume" in done.stdout
    assert " error: " not in done.stderr


def test_bad_input_is_told_once(arguments: list[str], tmp_path: Path) -> None:
    missing = [*arguments, "--output", str(tmp_path / "run"), "--data", str(tmp_path / "nowhere")]
    done = torchrun(*missing).finish()
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if "error: " in line]
    assert any("nowhere: no such folder" in line for line in said)
    assert len([line for line in said if "nowhere" in line]) == 1


SET = {"WORLD_SIZE": "4", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


@pytest.mark.parametrize(
    "left",
    [
        {"WORLD_SIZE": "4"},
        {"WORLD_SIZE": "4", "RANK": "0"},
        {"WORLD_SIZE": "x"},
        SET | {"WORLD_SIZE": "x"},
        SET | {"RANK": ""},
        SET | {"LOCAL_RANK": "-1"},
        SET | {"WORLD_SIZE": "0"},
        SET | {"RANK": "4"},
        {name: value for name, value in SET.items() if name != "MASTER_PORT"},
    ],
)
def test_what_something_else_than_torchrun_set_is_refused(
    left: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=r"WORLD_SIZE .*RANK, LOCAL_RANK, .*unset it"):
        Ranks.here()


def test_a_number_of_processes_that_was_left_in_the_environment_gets_one_clear_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaint: Callable
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert "WORLD_SIZE is '4' in" in complaint(finetune.main, *arguments, "--output", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("size", [None, "1", ""])
def test_a_process_alone_needs_no_others(size: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if size is not None:
        monkeypatch.setenv("WORLD_SIZE", size)
    assert Ranks.here() == Ranks(0, 1, 0)
    assert Ranks().any(True, False) == [True, False]


def test_an_error_in_one_process_ends_both_at_once_with_its_reason(
    arguments: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    first, second = (
        Forked(_fails_in_rank_1, rank, port, *arguments, "--output", output)
        for port in [free_port()]
        for rank in (0, 1)
    )
    done, failed = first.finish(), second.finish()
    assert failed.returncode == 1
    assert "RuntimeError: out of luck" in failed.stderr
    assert done.returncode == 2
    assert "another process of this run ended" in done.stderr


def _fails_in_rank_1(rank: int, port: int, *arguments: object) -> None:
    make_step = Trainer.step

    def failing(trainer: Trainer, step: int, *others: Any) -> Any:
        if rank == 1 and step == 2:
            raise RuntimeError("out of luck")
        return make_step(trainer, step, *others)

    Trainer.step = failing  # type: ignore[method-assign, assignment]
    _one_of_two(rank, port, *arguments)
