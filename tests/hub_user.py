"""Someone who starts the scripts against the loopback Hub, and what they meet there."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import torch

import generate
from model import GPT2
from published import to_published
from tests.fake_hub import FakeHub

ROOT = Path(__file__).parent.parent
RAW = "roneneldan/TinyStoriesInstruct"
TRAIN, VALIDATION = "TinyStories-Instruct-train.txt", "TinyStories-Instruct-valid.txt"
BASE, FINETUNED = "0rn0/gpt2-30m-tinystories", "0rn0/gpt2-30m-tinystories-sft"
DATA = "0rn0/tinystories-instruct-balanced"
STORY = ["generate.py", "--topic", "a lost dog", "--ending", "sad", "--seed", "1", "--max-tokens", "8"]

# Starts a script as the command line does, with less patience, and several processes for a little text.
HURRIED = """
import importlib, pathlib, sys
import cli, hub
hub.PATIENCE, hub.FIRST_WAIT, hub.TIMEOUT = 2.0, 0.01, 0.5
sys.argv = sys.argv[1:]
script = importlib.import_module(pathlib.Path(sys.argv[0]).stem)
script.PARALLEL_FROM, script.PIECE = 100_000, 30_000
cli.run(script.main)
"""


class User:
    """Someone who starts scripts in an empty folder, with an empty cache."""

    def __init__(self, hub: FakeHub, place: Path, token: str | None = None) -> None:
        self.place = place
        place.mkdir(exist_ok=True)
        self.cache = place / "cache"
        self.environment = os.environ | hub.environment(self.cache, token)
        self.environment |= {"HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
        self.environment["PYTHONPATH"] = str(ROOT)

    def start(
        self, script: str, *arguments: object, hurried: bool = True, before: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        start = [sys.executable, "-c", HURRIED] if hurried else [sys.executable]
        command = [*before, *start, str(ROOT / script), *map(str, arguments)]
        return subprocess.run(
            command, cwd=self.place, env=self.environment, capture_output=True, text=True, timeout=120
        )

    def succeed(self, script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        done = self.start(script, *arguments)
        assert done.returncode == 0, done.stderr
        return done

    def fail(self, script: str, *arguments: object, **how: object) -> str:
        """The one line of a script that ends with exit code 2."""
        done = self.start(script, *arguments, **how)  # type: ignore[arg-type]
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        lines = [line for line in done.stderr.splitlines() if "error:" in line]
        assert len(lines) == 1
        return lines[0]


def weights(model: GPT2, tmp_path: Path) -> dict[str, bytes]:
    folder = tmp_path / "weights"
    model.save_pretrained(folder)
    return {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}


def first_release(model: GPT2) -> dict[str, bytes]:
    content = io.BytesIO()
    torch.save({"epoch": 5, "model_state_dict": to_published(model)}, content)
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
    pattern = rf"GET /objects/.*{re.escape(name)} bytes=(\d+)-"
    return [int(match[1]) for request in hub.requests if (match := re.fullmatch(pattern, request))]
