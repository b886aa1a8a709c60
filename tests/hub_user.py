"""Someone who starts the scripts against the loopback Hub, and what they meet there."""

import contextlib
import importlib
import io
import os
import re
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import close_session, constants

import generate
from clean_environment import ROOT
from common import cli, retry
from fake_hub import FakeHub
from model import GPT2

Done = CompletedProcess[str]
RAW = "roneneldan/TinyStoriesInstruct"
TRAIN, VALIDATION = "TinyStories-Instruct-train.txt", "TinyStories-Instruct-valid.txt"
BASE, FINETUNED = "0rn0/gpt2-30m-tinystories", "0rn0/gpt2-30m-tinystories-sft"
DATA = "0rn0/tinystories-instruct-balanced"
STORY = ["generate.py", "--topic", "a lost dog", "--ending", "sad", "--seed", "1", "--max-tokens", "8"]

FAULTS: dict[str, dict[str, Any]] = {
    "503 for a while": dict(status=503, times=3),
    "429 with Retry-After": dict(status=429, headers={"Retry-After": "1"}),
    "dropped": dict(after_bytes=50_000),
    "ended early": dict(after_bytes=50_000, honest=False),
    "dropped again and again": dict(after_bytes=50_000, times=3),
    "reset": dict(after_bytes=50_000, reset=True),
    "silent for a while": dict(silent=True),
}

# huggingface_hub waits a second and more between two tries.
WAITING = ("huggingface_hub.utils._http", "huggingface_hub.file_download")
HASTE = SimpleNamespace(**vars(time) | {"sleep": lambda seconds: time.sleep(seconds / 100)})


class User:
    """Someone who starts scripts in a folder and with a cache of his own, in the process of the test."""

    def __init__(self, place: Path, token: str | None = None) -> None:
        self.place = place
        place.mkdir(exist_ok=True)
        self.cache = place / "cache"
        self.token = token

    def start(self, script: str, *arguments: object, offline: bool = False, patience: float = 2.0) -> Done:
        """What came of the main of a script, or of a module that is run by its name, in this process.

        It hardly waits between two tries; `patience` with the Hub is in seconds.
        """
        main = importlib.import_module(script.removesuffix(".py")).main
        stdout, stderr = io.StringIO(), io.StringIO()
        close_session()  # a new process has no connections
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
            patch.chdir(self.place)
            patch.setattr(sys, "argv", [script])
            patch.setattr(constants, "HF_HUB_CACHE", str(self.cache / "hub"))
            patch.setattr(constants, "HF_HUB_OFFLINE", offline)
            patch.setattr(retry, "GIVE_UP_AFTER", patience)
            patch.setattr(retry, "FIRST_WAIT", 0.01)
            patch.setattr(retry, "TIMEOUT", 0.5)
            for module in WAITING:
                patch.setattr(f"{module}.time", HASTE)
            if self.token:
                patch.setenv("HF_TOKEN", self.token)
            try:
                cli.run(lambda: main([*map(str, arguments)]))
                status = 0
            except SystemExit as end:
                status = int(end.code or 0)
        return Done([script], status, stdout.getvalue(), stderr.getvalue())

    def succeed(self, script: str, *arguments: object, **how: Any) -> Done:
        done = self.start(script, *arguments, **how)
        assert done.returncode == 0, done.stderr
        return done

    def fail(self, script: str, *arguments: object, **how: Any) -> str:
        return complaint_of(self.start(script, *arguments, **how))

    def start_process(self, script: str, *arguments: object, before: Sequence[str] = ()) -> "Popen[str]":
        """The same in a process of its own, with all patience; `before` is a command before the command."""
        environment = os.environ | {"HF_HOME": str(self.cache)}
        if self.token:
            environment["HF_TOKEN"] = self.token
        how = [str(ROOT / script)] if script.endswith(".py") else ["-m", script]
        environment["PYTHONPATH"] = str(ROOT)
        command = [*before, sys.executable, *how, *map(str, arguments)]
        return Popen(command, cwd=self.place, env=environment, stdout=PIPE, stderr=PIPE, text=True)


def finished(process: "Popen[str]") -> Done:
    try:
        stdout, stderr = process.communicate(timeout=120)
    finally:
        process.kill()  # does nothing to one that has ended
    return Done([], process.returncode, stdout, stderr)


def complaint_of(done: Done) -> str:
    """The one line of a script that ended with exit code 2."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "error:" in line]
    return line


def weights(model: GPT2, tmp_path: Path) -> dict[str, bytes]:
    folder = tmp_path / "weights"
    model.save_pretrained(folder)
    return {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}


def first_release(model: GPT2) -> dict[str, bytes]:
    content = io.BytesIO()
    torch.save({"epoch": 5, "model_state_dict": model.state_dict()}, content)
    return {"finetune_epoch_5.pt": content.getvalue()}


def told_by(model: GPT2, tmp_path: Path) -> str:
    """The story that a model at hand tells."""
    folder = tmp_path / "local"
    model.save_pretrained(folder)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        generate.main([*STORY[1:], "--checkpoint", str(folder)])
    return printed.getvalue()


def same_data(one: Path, other: Path) -> bool:
    names = ("train.parquet", "validation.parquet")
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def ranges(hub: FakeHub, name: str) -> list[int]:
    """Where the reading of a file began, for each connection."""
    pattern = rf"GET /objects/.*{re.escape(name)} bytes=(\d+)-\d*"
    return [int(match[1]) for request in hub.requests if (match := re.fullmatch(pattern, request))]
