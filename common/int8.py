"""int8 weights: a quarter of the bytes to keep and to read for every token, and products of whole numbers.

    quantize(model)                                # in place; GPT2 and its files know such layers

A row of a weight matrix, which is one output channel or one token's embedding, is kept as whole numbers from
-127 to 127 and a scale: W[n] = scale[n] * weight[n], rounded to nearest. Where it is multiplied, each row of
the input is rounded in the same way, by its own largest number; so a row's result does not depend on the rows
beside it. Source: Dettmers et al. 2022, "LLM.int8()", 2.1, there called vector-wise quantization.

Biases and layer norms stay as they are. Nothing here can be trained.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST = 127


def to_int8(x: Tensor) -> tuple[Tensor, Tensor]:
    """(..., K) float -> whole numbers (..., K) int8 and scales (..., 1), whose product is x, rounded."""
    if x.is_meta:  # shapes alone, for weights to be loaded into; computing them would import for a second
        return torch.empty_like(x, dtype=torch.int8), x[..., :1]
    scale = x.abs().amax(-1, keepdim=True).clamp_(min=1e-30) / LARGEST
    return (x / scale).round_().to(torch.int8), scale


@functools.cache
def has_int8_products() -> bool:
    """Whether int8 products of this CPU are exact, and sooner there than float32 ones.

    On an x86 processor without AVX-512 VNNI (AMD before 2022, most of Intel's that are not for servers) torch
    adds them up in plain loops. With it, torch calls oneDNN, whose sums overflow where it is kept from VNNI
    (by ONEDNN_MAX_CPU_ISA).
    """
    cpu = torch.cpu.get_capabilities()
    if cpu["architecture"] == "x86_64" and not cpu["avx512_vnni"]:
        return False
    row = torch.full((1, 64), LARGEST, dtype=torch.int8)
    return bool(torch._int_mm(row, row.repeat(8, 1).t()).eq(64 * LARGEST**2).all())


class Int8Linear(nn.Module):
    """Takes the place of a linear layer: (..., K) -> (..., N).

    Where a CPU has no products of whole numbers, the weight is dequantized at every call; so it is on a GPU
    (not tried), where `_int_mm` does not take the shapes of one story. inference/cpu.py does it once.
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
        if x.device.type != "cpu" or not has_int8_products():
            return F.linear(x, self.dequantized(), self.bias)
        return self.multiply(*to_int8(x.reshape(-1, x.shape[-1]))).view(*x.shape[:-1], -1)

    def multiply(self, whole: Tensor, scale: Tensor) -> Tensor:
        """An input that is rounded already, (R, K) int8 and (R, 1) -> (R, N); on a CPU."""
        sums = torch._int_mm(whole, self.weight.t())  # (R, N) int32, by oneDNN
        return torch.addcmul(self.bias, sums * self.scale, scale)

    def dequantized(self) -> Tensor:
        """The weight that the whole numbers stand for, (N, K)."""
        return self.weight * self.scale[:, None]


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
