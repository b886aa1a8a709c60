"""Training runs in processes of their own, and what becomes of them when they are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import run_folder
from tests.hub_user import ROOT

# Starts finetune.py as the command line does, and kills it at the Nth call of any Python or C function that
# comes after the imports, or at the Nth of those within a save. At the end it tells how many there were.
KILLED_AT_CALL = """
import os, signal, sys
import finetune, run_folder, torch._dynamo
place, limit = sys.argv.pop(1), int(sys.argv.pop(1))
calls = {"anywhere": 0, "save": 0}
saving = False
def count(frame, event, argument):
    if event in ("call", "c_call"):
        calls["anywhere"] += 1
        calls["save"] += saving
        if calls[place] == limit:
            os.kill(os.getpid(), signal.SIGKILL)
def watched(*arguments, save=run_folder.save):
    global saving
    saving = True
    save(*arguments)
    saving = False
run_folder.save = watched
sys.setprofile(count)
finetune.main()
sys.setprofile(None)
print("calls", calls["anywhere"], calls["save"])
"""
# A shell's background job ignores SIGINT, and so does what it starts.
WITH_SIGINT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
PLAIN = WITH_SIGINT + "import cli, finetune, sys; sys.argv[0] = 'finetune.py'; cli.run(finetune.main)"


def command(arguments: list[str], *before: str, code: str = PLAIN) -> list[str]:
    return [*before, sys.executable, "-c", code, *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def start(command: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    stdout, stderr = process.communicate(timeout=120)
    return process.returncode, stdout, stderr


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Look again and again until the condition holds. Fails if the process ends before, or after a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"it never came: {finish(process)}")
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


def interrupt(process: "subprocess.Popen[str]", number: signal.Signals) -> tuple[int, str, str]:
    process.send_signal(number)
    return finish(process)
