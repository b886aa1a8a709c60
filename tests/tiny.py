"""A model small enough for any test."""

from typing import Any

import numpy as np
import torch

from common.int8 import quantize
from inference.engine import Engine
from model import GPT2

TINY: dict[str, Any] = dict(
    dropout_rate=0.0, vocab_size=512, context_length=384, embedding_dim=32, num_layers=2, num_heads=4
)
CONTEXT = TINY["context_length"]
EOS = TINY["vocab_size"] - 1
IDS = torch.randint(0, TINY["vocab_size"], (3, 40), generator=torch.Generator().manual_seed(0))


def tiny_model(seed: int = 0, **changes: Any) -> GPT2:
    """Random weights, large enough that the next token is never a near tie."""
    torch.manual_seed(seed)
    model = GPT2(**{**TINY, **changes}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return model


def engine_of(model: GPT2, threads: int = 1, **others: np.ndarray) -> Engine:
    """With the model's weights, but for `others`."""
    weights = {name: weight.numpy() for name, weight in model.state_dict().items()}
    return Engine(weights | others, model.config, threads, model.taught)


def prepared(kind: str) -> GPT2 | Engine:
    """A tiny model for PyTorch or for the engine ("engine", "engine int8")."""
    model = tiny_model()
    if "int8" in kind:
        quantize(model)
    return engine_of(model) if "engine" in kind else model
