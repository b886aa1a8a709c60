"""What the tests share: a tiny model, a tiny data set, a command line that must fail, a loopback Hub."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import cli
import prepare_data
from model import GPT2
from samples import write_corpus
from tests.fake_hub import FakeHub
from tests.hub_user import ROOT, TRAIN, VALIDATION, User

TINY: dict[str, Any] = dict(
    dropout_rate=0.0, vocab_size=512, context_length=384, embedding_dim=32, num_layers=2, num_heads=4
)


def tiny_model(seed: int = 0, **changes: Any) -> GPT2:
    """Random weights, large enough that the next token is never a near tie."""
    torch.manual_seed(seed)
    model = GPT2(**{**TINY, **changes}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return model


def in_a_process(code: str, **environment: str) -> str:
    """What Python code prints in a process of its own; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def model() -> GPT2:
    return tiny_model()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, model: GPT2) -> str:
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("raw")
    write_corpus.main(["--output", str(folder), "--records", "200", "--validation-records", "200"])
    return str(folder)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, raw: str) -> str:
    folder = tmp_path_factory.mktemp("prepared") / "data"
    prepare_data.main(["--source", raw, "--output", str(folder)])
    return str(folder)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder: what is found and written by default must not be the developer's."""
    folder = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a script's main with bad arguments as the command line does; return the one line it printed."""

    def complain(main: Callable[[list[str]], None], *arguments: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.run(lambda: main([str(argument) for argument in arguments]))
        assert stop.value.code == 2
        lines = [
            line for line in capsys.readouterr().err.splitlines() if "error:" in line or "Traceback" in line
        ]
        assert len(lines) == 1
        return lines[0]

    return complain


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        yield fake


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The raw files: train is stored by reference, validation as it is."""
    folder = tmp_path_factory.mktemp("texts")
    write_corpus.main(["--output", str(folder), "--records", "400", "--validation-records", "60"])
    return {name: (folder / name).read_bytes() for name in (TRAIN, VALIDATION)}


@pytest.fixture(scope="session")
def undisturbed(texts: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the raw files become when they lie in a folder."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for name, content in texts.items():
        (folder / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, ROOT / "prepare_data.py", "--source", ".", "--output", "data"], cwd=folder
    )
    assert done.returncode == 0
    return folder / "data"


@pytest.fixture
def user(hub: FakeHub, tmp_path: Path) -> User:
    return User(hub, tmp_path / "user")
