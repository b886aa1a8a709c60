"""Cross-entropy over the supervised tokens, summed, so that it adds up over micro-batches and processes.

The output layer is most of a small model's work and its logits are most of its memory: 64 stories of 512
tokens have 6.6 GB of them. So it sees the supervised positions alone, a chunk at a time.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dataset import IGNORE_INDEX

# Positions whose logits exist at the same time; 512 take 103 MB in GPT-2's vocabulary.
CHUNK = {"cpu": 512, "cuda": 2048}
ALIGNED = 64  # rows of logits begin at a multiple of so many numbers: matrix products run faster


def compute_loss(model_output: Tensor, labels: Tensor, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Logits (B, T, V), labels (B, T) int64 -> mean cross-entropy of the supervised tokens, nats.

    The plain way, for who has all logits at hand; training takes `summed_loss`. 0 where nothing is
    supervised.
    """
    total = F.cross_entropy(
        model_output.flatten(0, -2).float(), labels.flatten(), ignore_index=ignore_index, reduction="sum"
    )
    return total / (labels != ignore_index).sum().clamp(min=1)


def summed_loss(hidden: Tensor, output_layer: nn.Linear, labels: Tensor) -> Tensor:
    """What enters the output layer, (N, C), and labels (N,) int64 -> summed cross-entropy, nats, float32.

    Under autocast the matrix products are in its dtype, and all sums in float32.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    total: Tensor = _ChunkedCrossEntropy.apply(
        hidden, output_layer.weight, output_layer.bias, labels, dtype, torch.is_grad_enabled()
    )
    return total


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Computes the gradients on the way forward, while a chunk's logits exist.

    With p = softmax(logits): the loss is log(sum(exp(logits))) - logits[label], its gradient towards the
    logits is p - onehot(label). A softmax overwrites its logits here, and its largest entry gives the sum
    back: log(sum(exp(logits))) = max(logits) - log(max(p)), where max(p) >= 1/V is never rounded to 0.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        labels: Tensor,
        dtype: torch.dtype,
        with_gradients: bool,
    ) -> Tensor:
        V = len(weight)
        chunk = CHUNK.get(hidden.device.type, CHUNK["cpu"])
        gradients = [torch.zeros_like(x) for x in (hidden, weight, bias)] if with_gradients else []
        hidden, weight = hidden.to(dtype), weight.to(dtype)
        precise = torch.promote_types(dtype, torch.float32)
        width = -(-V // ALIGNED) * ALIGNED
        buffer = torch.empty(min(chunk, len(hidden)), width, dtype=precise, device=hidden.device)
        total = torch.zeros((), dtype=precise, device=hidden.device)
        for start in range(0, len(hidden), chunk):
            here = slice(start, start + chunk)
            label = labels[here, None]  # (n, 1)
            rows = buffer[: len(label)]
            rows[:, V:] = -torch.inf
            logits = rows[:, :V].copy_(bias)  # (n, V)
            _add_product(logits, hidden[here], weight.T)
            total += (rows.amax(1, keepdim=True) - logits.gather(1, label)).sum()
            torch.softmax(rows, 1, out=rows)
            total -= rows.amax(1).log().sum()
            if with_gradients:
                to_hidden, to_weight, to_bias = gradients
                logits.scatter_add_(1, label, torch.full_like(label, -1, dtype=precise))
                to_bias += logits.sum(0)
                to_logits = logits.to(dtype)
                _add_product(to_hidden[here], to_logits, weight)
                _add_product(to_weight, to_logits.T, hidden[here])
        ctx.gradients = gradients
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        gradients = ctx.gradients
        del ctx.gradients  # scaled in place: good for one backward pass
        return *(gradient.mul_(upstream[0]) for gradient in gradients), None, None, None


def _add_product(out: Tensor, a: Tensor, b: Tensor) -> None:
    """out += a @ b, where `out` may be more precise than the product."""
    if out.dtype == a.dtype:
        out.addmm_(a, b)
    else:
        out.add_(a @ b)
