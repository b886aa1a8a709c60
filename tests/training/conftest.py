import pytest

from tiny import tiny_model


@pytest.fixture(scope="session")
def arguments(tmp_path_factory: pytest.TempPathFactory, data: str) -> list[str]:
    """Two epochs with dropout, saves inside an epoch and between two lines of metrics, and stories."""
    base = tmp_path_factory.mktemp("base")
    tiny_model(dropout_rate=0.1, embedding_dim=16, num_heads=2).save_pretrained(base)
    given = ["--checkpoint", str(base), "--data", data, "--epochs", "2", "--batch-size", "5", "--lr", "1e-3"]
    given += ["--micro-batch-tokens", "800", "--log-every", "3", "--save-every", "2", "--stories", "1"]
    return [*given, "--schedule", "cosine", "--warmup-steps", "2", "--grad-clip", "1"]
