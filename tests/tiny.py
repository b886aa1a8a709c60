"""A model small enough for any test."""

from typing import Any

import torch

from model import GPT2

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
