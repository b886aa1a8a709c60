from pathlib import Path

import pytest

from common.presets import PRESETS
from model import load_model


@pytest.mark.parametrize("size", PRESETS)
def test_presets_fit_the_table(size: str) -> None:
    config = PRESETS[size].config
    assert config.embedding_dim % config.num_heads == 0
    if size != "nano":
        assert (config.vocab_size, config.context_length, config.dropout_rate) == (50257, 512, 0.1)


def test_the_nano_base_in_the_repo_loads_and_is_small() -> None:
    base = Path(PRESETS["nano"].base)
    assert load_model(base).config == PRESETS["nano"].config
    assert sum(file.stat().st_size for file in base.iterdir()) <= 3_000_000
