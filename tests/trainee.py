"""Training runs in processes of their own, and what becomes of them when they are killed."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed.run

import finetune
from clean_environment import ROOT
from forked import Forked, run_script
from training import run_folder


def train(*arguments: object) -> Forked:
    """finetune.py, started by its command line."""
    return Forked(run_script, "finetune.py", *arguments)


def torchrun(*arguments: object) -> Forked:
    """A run of two processes, as a user starts it."""
    return Forked(_torchrun, "--standalone", "--nproc-per-node=2", ROOT / "finetune.py", *arguments)


def _torchrun(*arguments: object) -> None:
    torch.distributed.run.main([*map(str, arguments)])


def train_until_call(place: str, limit: int, *arguments: object) -> Forked:
    """finetune.py, killed at call number `limit` of any function: "anywhere", or within a "save".

    At the end it tells how many calls there were.
    """
    return Forked(_kill_at_call, place, limit, list(map(str, arguments)))


def _kill_at_call(place: str, limit: int, arguments: list[str]) -> None:
    calls = {"anywhere": 0, "save": 0}
    saving = False

    def count(frame: object, event: str, argument: object) -> None:
        if event in ("call", "c_call"):  # of Python, of C
            calls["anywhere"] += 1
            calls["save"] += saving
            if calls[place] == limit:
                os.kill(os.getpid(), signal.SIGKILL)

    def watched(*given: Any, save: Callable[..., None] = run_folder.save) -> None:
        nonlocal saving
        saving = True
        save(*given)
        saving = False

    run_folder.save = watched  # type: ignore[assignment]
    sys.setprofile(count)
    finetune.main(arguments)
    sys.setprofile(None)
    print("calls", calls["anywhere"], calls["save"])


def wait_until(condition: Callable[[], bool], run: Forked) -> None:
    """Look again and again until the condition holds. Fails if the process ends before, or after a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        if not run.is_running() or time.monotonic() > deadline:
            raise AssertionError(f"it never came: {run.finish(timeout=0)}")
        time.sleep(0.005)


def lines(output: Path) -> list[dict[str, Any]]:
    """What metrics.jsonl says that has nothing to do with time or memory."""
    changing = ("tokens_per_second", "memory_gb")
    return [
        {name: value for name, value in line.items() if name not in changing}
        for line in run_folder.read_metrics(output)
    ]


def outcome(output: Path) -> dict[str, Any]:
    """All that a run leaves, in a form that compares bit for bit."""
    state = torch.load(output / "training_state.pt", weights_only=True)
    del state["progress"]["metrics_size"]  # the digits of times differ
    files = [path for path in output.rglob("*") if path.is_file() and path.suffix not in (".pt", ".png")]
    return {
        "progress": state["progress"],
        "tensors": {
            f"{part} {name}": value.numpy().tobytes()
            for part in ("model", "optimizer")
            for name, value in flat(state[part]).items()
        },
        "metrics": lines(output),
        "files": {
            str(path.relative_to(output)): path.read_bytes()
            for path in files
            if path.name not in ("metrics.jsonl", "run.json")
        },
    }


def flat(tree: Any, name: str = "") -> dict[str, torch.Tensor]:
    """Every leaf of nested dicts and lists as a tensor, under the path to it."""
    if isinstance(tree, torch.Tensor):
        return {name: tree}
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {k: v for key, value in items for k, v in flat(value, f"{name}/{key}").items()}
    return {name: torch.tensor(list(json.dumps(tree, default=str).encode()))}


def resumed(arguments: list[str], output: Path, *more: str) -> None:
    finetune.main([*arguments, "--output", str(output), "--resume", *more])


def state(output: Path) -> dict:
    return torch.load(output / "training_state.pt", weights_only=True)
