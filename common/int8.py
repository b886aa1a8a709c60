"""int8 weights: a quarter of the bytes to keep and to read for every token, and products of whole numbers.

    quantize(model)                                # in place; GPT2 and its files know such layers

A row of a weight matrix, which is one output channel or one token's embedding, is kept as whole numbers from
-127 to 127 and a scale: W[n] = scale[n] * weight[n], rounded to nearest. Where it is multiplied, each row of
the input is rounded in the same way, to 12 bits, by its own largest number; so a row's result does not depend
on the rows beside it. Source: Dettmers et al. 2022, "LLM.int8()", 2.1, there called vector-wise quantization.

Biases and layer norms stay as they are. Nothing here can be trained. What makes it fast is
inference/engine.c; here is what it must compute, but for the rounding of float32 sums.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST = 127
LARGEST_INPUT = 2047  # what this rounds away is lost beside what the weights lose


def to_int8(x: Tensor) -> tuple[Tensor, Tensor]:
    """(..., K) float -> whole numbers (..., K) int8 and scales (..., 1), whose product is x, rounded."""
    if x.is_meta:  # shapes alone, for weights to be loaded into; computing them would import for a second
        return torch.empty_like(x, dtype=torch.int8), x[..., :1]
    scale = x.abs().amax(-1, keepdim=True).clamp_(min=1e-30) / LARGEST
    return (x / scale).round_().to(torch.int8), scale


def round_input(x: Tensor) -> Tensor:
    """(..., K) float -> the same, rounded to 12 bits by each row's largest number."""
    largest = x.abs().amax(-1, keepdim=True)
    whole = (x * (LARGEST_INPUT / largest.clamp(min=1e-30))).round_()
    return whole * (largest / LARGEST_INPUT)


class Int8Linear(nn.Module):
    """Takes the place of a linear layer: (..., K) -> (..., N)."""

    weight: Tensor  # (N, K) int8
    scale: Tensor  # (N,)
    bias: Tensor  # (N,)

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = to_int8(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.squeeze(-1))
        self.register_buffer("bias", linear.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(round_input(x), self.weight * self.scale[:, None], self.bias)


class Int8Embedding(nn.Module):
    """Takes the place of an embedding: ids (...) int64 -> (..., C)."""

    weight: Tensor  # (V, C) int8
    scale: Tensor  # (V,)

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        weight, scale = to_int8(embedding.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.squeeze(-1))

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.weight) * self.scale[ids][..., None]


def quantize(model: nn.Module) -> None:
    """Put int8 layers in the place of all linear layers and embeddings of `model`."""
    for name, child in model.named_children():
        if isinstance(child, nn.Linear):
            setattr(model, name, Int8Linear(child))
        elif isinstance(child, nn.Embedding):
            setattr(model, name, Int8Embedding(child))
        else:
            quantize(child)
