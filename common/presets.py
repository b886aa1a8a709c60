"""The model sizes that have a name: nano, 30m and 125m."""

from dataclasses import dataclass
from pathlib import Path

ASSETS = Path(__file__).parent.parent / "assets"


@dataclass(frozen=True)
class ModelConfig:
    """The six names of a published config.json."""

    dropout_rate: float
    vocab_size: int
    context_length: int
    embedding_dim: int
    num_layers: int
    num_heads: int


@dataclass(frozen=True)
class Preset:
    config: ModelConfig
    label: str  # as in checkpoints/sft_{label}_model
    base: str  # the pre-trained checkpoint, a Hub id or a folder of this repo
    finetuned: str | None  # the published result
    epochs: int


# nano has no dropout: it sees every story once or twice, and has no capacity to spare.
PRESETS = {
    "nano": Preset(
        ModelConfig(0.0, 4096, 256, 96, num_layers=4, num_heads=4),
        label="nano",
        base=str(ASSETS / "nano_base"),
        finetuned=None,
        epochs=2,
    ),
    "30m": Preset(
        ModelConfig(0.1, 50257, 512, 384, num_layers=6, num_heads=6),
        label="30M",
        base="0rn0/gpt2-30m-tinystories",
        finetuned="0rn0/gpt2-30m-tinystories-sft",
        epochs=5,
    ),
    "125m": Preset(
        ModelConfig(0.1, 50257, 512, 768, num_layers=12, num_heads=12),
        label="125M",
        base="0rn0/gpt2-125m-tinystories",
        finetuned="0rn0/gpt2-125m-tinystories-sft",
        epochs=1,
    ),
}
