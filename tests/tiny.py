"""A model small enough for any test."""

from typing import Any

import torch

from common.int8 import quantize
from inference.cpu import for_inference
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


def prepared(kind: str) -> GPT2:
    """A tiny model as it is ("plain"), made ready ("for inference"), or with int8 weights ("int8")."""
    model = tiny_model()
    if kind == "int8":
        quantize(model)
    return for_inference(model) if kind == "for inference" else model
