"""A model with biases that say something, and what export.py makes of it."""

from pathlib import Path

import pytest

import export
from dataset import taught
from tiny import tiny_model, with_biases


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny model with three endings."""
    model = with_biases(tiny_model())
    model.taught = taught(("funny", "happy", "sad"))
    folder = tmp_path_factory.mktemp("run") / "stories" / "best"
    folder.parent.mkdir()
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def exported(trained: Path) -> Path:
    export.main(["--checkpoint", str(trained), "--output", str(trained.parent / "transformers")])
    return trained.parent / "transformers"


@pytest.fixture(scope="session")
def ggufs(trained: Path) -> Path:
    export.main(["--checkpoint", str(trained), "--output", str(trained.parent / "gguf"), "--format", "gguf"])
    return trained.parent / "gguf"
