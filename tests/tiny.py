"""A model small enough for any test."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from common.int8 import quantize
from inference.engine import Engine, Text
from inference.interface import CDraw
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


def with_biases(model: GPT2) -> GPT2:
    """With norms and biases, that of the output layer too, that are not those of a new model."""
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def some_ids(length: int, seed: int = 0, below: int = 500) -> list[int]:
    return torch.randint(0, below, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def engine_of(model: GPT2, threads: int = 1, **others: np.ndarray) -> Engine:
    """With the model's weights, but for `others`."""
    weights = {name: weight.numpy() for name, weight in model.state_dict().items()}
    return Engine(weights | others, model.config, threads, model.taught)


def a_draw(**changes: Any) -> CDraw:
    """Of the likeliest token."""
    return CDraw(**{"rows": 1, "top_k": 1, "strength": 1.0, "temperature": 0.0, "top_p": 1.0, **changes})


def logits_behind(engine: Engine, ids: Sequence[int]) -> np.ndarray:
    """(V,)"""
    text = Text(engine, ids, len(ids))
    *before, last = [(text, token, position) for position, token in enumerate(ids)]
    for start in range(0, len(before), 64):
        engine.step(before[start : start + 64], ())
    return engine.step([last], [a_draw()])[0]


def prepared(kind: str) -> GPT2 | Engine:
    """A tiny model for PyTorch or for the engine ("engine", "engine int8")."""
    model = tiny_model()
    if "int8" in kind:
        quantize(model)
    return engine_of(model) if "engine" in kind else model
