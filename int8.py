"""int8 weights: a quarter of the bytes to keep and to read for every token, and products of whole numbers.

    quantize(model)                                # in place; GPT2 and its files know such layers

A row of a weight matrix, which is one output channel or one token's embedding, is kept as whole numbers from
-127 to 127 and a scale: W[n] = scale[n] * weight[n], rounded to nearest. Where it is multiplied, each row of
the input is rounded in the same way, by its own largest number; so a row's result does not depend on the rows
beside it. Source: Dettmers et al. 2022, "LLM.int8()", 2.1, there called vector-wise quantization.

Biases and layer norms stay as they are. Nothing here can be trained.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST = 127


def to_int8(x: Tensor) -> tuple[Tensor, Tensor]:
    """(..., K) float -> whole numbers (..., K) int8 and scales (..., 1), whose product is x, rounded."""
    scale = x.abs().amax(-1, keepdim=True).clamp_(min=1e-30) / LARGEST
    return (x / scale).round_().to(torch.int8), scale


class Int8Linear(nn.Module):
    """Takes the place of a linear layer: (..., K) -> (..., N).

    On a CPU both sides of the product are int8, and its sums are exact. Elsewhere (not tried) the weight is
    written out: `_int_mm` there asks for shapes that one story does not have.
    """

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
        if x.device.type != "cpu":
            return F.linear(x, self.weight.to(x.dtype) * self.scale[:, None], self.bias)
        whole, scale = to_int8(x.reshape(-1, x.shape[-1]))
        sums = torch._int_mm(whole, self.weight.t())  # (rows, N) int32, by oneDNN
        return torch.addcmul(self.bias, sums * self.scale, scale).view(*x.shape[:-1], -1)


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
