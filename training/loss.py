"""Cross-entropy over the supervised tokens, summed, so that it adds up over micro-batches and processes.

The output layer is most of a small model's work and its logits are most of its memory: 64 stories of 512
tokens have 6.6 GB of them. So it sees the supervised positions alone, a chunk at a time.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dataset import IGNORE_INDEX

# Positions whose logits exist at the same time: in GPT-2's vocabulary they take 103 MB on a CPU, and, with
# their gradient, 1.2 GB on a GPU. Each chunk reads the layer's weight and adds to its gradient.
CHUNK = {"cpu": 512, "cuda": 4096}
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


def summed_loss(hidden: Tensor, output_layer: nn.Linear, labels: Tensor, compiled: bool = False) -> Tensor:
    """What enters the output layer, (N, C), and labels (N,) int64 -> summed cross-entropy, nats, float32.

    Under autocast the matrix products are in its dtype, and all sums in float32; so are the logits, unless
    `compiled`, which moves a third of the bytes.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    weight, bias = output_layer.weight, output_layer.bias
    with torch.autocast(device, enabled=False):  # from here on each product says its dtype
        total: Tensor = _ChunkedCrossEntropy.apply(
            hidden, weight, bias, labels, dtype, compiled, torch.is_grad_enabled()
        )
    return total


def _loss_and_gradient(logits: Tensor, labels: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Logits (n, W) and labels (n,) -> their summed loss, and its gradient towards them in `dtype`, (n, W):
    p - onehot(labels). It takes the place of the logits, if they are of its dtype and float32.

    With p = softmax(logits), log(p[label]) = logits[label] - max(logits) + log(max(p)), where max(p) >= 1/W
    is never rounded to 0. At the label, p - 1 is rounded to `dtype` once: where p is almost 1 it is not 0.
    """
    p = logits.to(torch.promote_types(logits.dtype, torch.float32))
    label = labels[:, None]
    of_label = p.gather(1, label) - p.amax(1, keepdim=True)
    torch.softmax(p, 1, out=p)
    of_label += p.amax(1, keepdim=True).log()
    gradient = p.to(dtype)
    gradient.scatter_(1, label, of_label.expm1().to(dtype))
    return -of_label.sum(), gradient


@functools.cache
def _compiled() -> Callable[[Tensor, Tensor, torch.dtype], tuple[Tensor, Tensor]]:
    return torch.compile(_loss_and_gradient)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Computes the gradients on the way forward, while a chunk's logits exist.

    The vocabulary is filled up to a multiple of ALIGNED, by tokens whose logit is -inf.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        labels: Tensor,
        dtype: torch.dtype,
        compiled: bool,
        with_gradients: bool,
    ) -> Tensor:
        (N, C), V = hidden.shape, len(weight)
        W = -(-V // ALIGNED) * ALIGNED
        precise = torch.promote_types(dtype, torch.float32)
        to_hidden, to_weight, to_bias = (hidden.new_zeros(s, dtype=precise) for s in ((N, C), (W, C), W))
        total = hidden.new_zeros((), dtype=precise)
        hidden = hidden.to(dtype)
        weight = F.pad(weight.to(dtype), (0, 0, 0, W - V))
        bias = F.pad(bias.to(dtype if compiled else precise), (0, W - V), value=-torch.inf)

        chunk = CHUNK.get(hidden.device.type, CHUNK["cpu"])
        buffer = bias.new_empty(0 if compiled else min(chunk, N), W)
        for start in range(0, N, chunk):
            here = slice(start, start + chunk)
            label = labels[here]
            logits = bias.new_empty(len(label), W) if compiled else buffer[: len(label)]
            _add_product(bias, hidden[here], weight.T, out=logits)
            if compiled:
                torch._dynamo.maybe_mark_dynamic(logits, 0)  # one graph for all n
                torch._dynamo.maybe_mark_dynamic(label, 0)
            loss, to_logits = (_compiled() if compiled else _loss_and_gradient)(logits, label, dtype)
            total += loss
            if with_gradients:
                _add_product(to_hidden[here], to_logits, weight)
                _add_product(to_weight, to_logits.T, hidden[here])
                to_bias += to_logits.sum(0, dtype=precise)
        ctx.gradients = to_hidden, to_weight[:V], to_bias[:V]
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        gradients = ctx.gradients
        del ctx.gradients  # scaled in place: good for one backward pass
        return *(gradient.mul_(upstream[0]) for gradient in gradients), None, None, None, None


def _add_product(start: Tensor, a: Tensor, b: Tensor, out: Tensor | None = None) -> None:
    """out = start + a @ b, by default in place of `start`; it may be more precise than the factors."""
    out = start if out is None else out
    if out.dtype == a.dtype:
        torch.addmm(start, a, b, out=out)
    elif a.is_cuda:
        torch.addmm(start, a, b, out_dtype=out.dtype, out=out)
    else:
        torch.add(start, a @ b, out=out)
