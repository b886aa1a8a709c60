"""An optimiser step: examples in micro-batches, their loss, its gradient, AdamW.

trainer = Trainer(settings, model, examples, total_steps, compute, ranks)
for step in range(total_steps):
    loss, norm = trainer.step(step, *trainer.prepare(step), stop)
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from common.device import Compute
from common.seeds import derived_seed
from common.signals import StopRequest
from dataset import InstructionDataset
from model import GPT2
from training.batches import MicroBatch, micro_batches, overhead_tokens, shard, step_indices
from training.distributed import Ranks
from training.loss import summed_loss
from training.memory import affordable_tokens
from training.optimizer import Optimizer

# Fewer launches, and no graph of its own for small micro-batches.
COMPILE: dict[str, str | int | bool | Callable[..., Any]] = {
    "combo_kernels": True,
    "triton.mix_order_reduction_non_strict_mode": True,
}


class Supervised(nn.Module):
    """A model with its loss: what is trained, and what processes share.

    Ignored positions, prompt or padding, are spared the output layer, most of the work of a small model.
    """

    def __init__(self, model: GPT2, compiled: bool = False) -> None:
        super().__init__()
        self.model, self.compiled = model, compiled
        self.hidden = model.hidden
        if compiled:
            self.hidden = torch.compile(model.hidden, dynamic=True, options=COMPILE)

    def forward(self, inputs: Tensor, positions: Tensor, labels: Tensor) -> Tensor:
        """The fields of a MicroBatch -> summed cross-entropy of its N supervised tokens, nats."""
        if self.compiled and len(inputs) == 1:
            inputs = inputs.repeat(2, 1)  # torch.compile would make another graph for a single row
        hidden = self.hidden(inputs).flatten(0, 1)  # (B * T, C)
        hidden = hidden.index_select(0, positions)  # (N, C)
        return summed_loss(hidden, self.model.output_layer, labels, self.compiled)


def add_gradient(
    trained: nn.Module,
    batches: Sequence[MicroBatch],
    tokens: int,
    compute: Compute,
    ranks: Ranks,
    stop: StopRequest,
    scaled: Callable[[Tensor], Tensor] = lambda loss: loss,
) -> Tensor:
    """Add the gradient of a step's loss, `scaled`, to `.grad`; returns the summed loss of this process's
    part.

    The loss is the mean over `tokens`, the supervised tokens of all micro-batches and all processes, so it
    does not matter how the step is split (but for dropout, which draws anew). Raises Ended.
    """
    total = torch.zeros((), device=compute.device)
    for number, batch in enumerate(stop.between(batches), start=1):
        last = number == len(batches)  # the one at which processes exchange their gradients
        apart = isinstance(trained, DistributedDataParallel) and not last
        with trained.no_sync() if apart else contextlib.nullcontext():  # type: ignore[operator]
            with compute.autocast():
                loss = trained(*batch.to(compute.device))
            # DistributedDataParallel will take the mean over the processes, where the sum is wanted.
            scaled(loss * (ranks.size / max(tokens, 1))).backward()
        total += loss.detach()
    return total


def learning_rate(step: int, total_steps: int, settings: Any) -> float:
    """Of optimiser step `step` (from 0): a linear warm-up, then constant, or half a cosine down to 0."""
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return settings.lr
    progress = (step - settings.warmup_steps) / max(total_steps - settings.warmup_steps, 1)
    return settings.lr * (1 + math.cos(math.pi * progress)) / 2


class Trainer:
    """What a run computes with: a model, its optimiser, and how examples go through it, on one device."""

    def __init__(
        self,
        settings: Any,
        model: GPT2,
        rows: InstructionDataset,
        total_steps: int,
        compute: Compute,
        ranks: Ranks,
    ) -> None:
        self.settings, self.model, self.rows, self.total_steps = settings, model, rows, total_steps
        self.compute, self.ranks = compute, ranks
        self.supervised_tokens = rows.supervised_tokens(settings.loss_on)
        self.optimizer = Optimizer(model, compute, settings.weight_decay, settings.grad_clip)
        self.supervised = Supervised(model, settings.compile).train()
        self.trained = DistributedDataParallel(self.supervised) if ranks.size > 1 else self.supervised
        self.max_tokens = settings.micro_batch_tokens or affordable_tokens(compute, model)

    def micro_batches(self, rows: InstructionDataset, indices: Sequence[int]) -> list[MicroBatch]:
        """This process's share of the examples `indices`, in parts that fit the memory."""
        mine = shard(indices, rows.lengths, self.ranks.rank, self.ranks.size)
        batches = micro_batches(
            rows,
            mine,
            self.max_tokens,
            overhead=overhead_tokens(self.compute, self.model),
            pad_token_id=self.model.config.vocab_size - 1,
            loss_on=self.settings.loss_on,
            multiple=8 if self.settings.compile else 1,
        )
        return [batch.pinned(self.compute.device) for batch in batches]

    def prepare(self, step: int) -> tuple[list[int], list[MicroBatch]]:
        """The examples of optimiser step `step` (from 0), and this process's micro-batches of them."""
        indices = step_indices(len(self.rows), self.settings.batch_size, self.settings.seed, step)
        return indices, self.micro_batches(self.rows, indices)

    def try_largest(self, max_length: int) -> None:
        """Take the largest micro-batch forward and back, with room for AdamW's moments: what does not fit
        fails now. Gradients and random numbers are afterwards as before."""
        rows = min(self.max_tokens // max_length, -(-self.settings.batch_size // self.ranks.size))
        inputs = torch.zeros(max(rows, 1), max_length, dtype=torch.int64)
        largest = MicroBatch(inputs, torch.arange(inputs.numel()), inputs.flatten()).pinned(
            self.compute.device
        )
        moments = [torch.empty_like(p) for p in self.model.parameters() for _ in range(2)]
        with torch.random.fork_rng(device_type=self.compute.device.type):
            add_gradient(self.supervised, [largest], 1, self.compute, Ranks(), StopRequest())
        del moments
        self.optimizer.zero_grad()

    def step(
        self, step: int, indices: list[int], batches: list[MicroBatch], stop: StopRequest
    ) -> tuple[Tensor, Tensor]:
        """Optimiser step `step`: the summed loss of this process's part, and the gradient's norm, neither of
        them read, so that a GPU is not waited for. Raises Ended."""
        torch.manual_seed(derived_seed(self.settings.seed, "dropout", step, self.ranks.rank))
        self.optimizer.zero_grad()
        tokens = int(self.supervised_tokens[indices].sum())
        scaled = self.optimizer.scaled
        loss_sum = add_gradient(self.trained, batches, tokens, self.compute, self.ranks, stop, scaled)
        return loss_sum, self.optimizer.step(learning_rate(step, self.total_steps, self.settings))


@torch.no_grad()
def validation_loss(
    supervised: Supervised, batches: Iterable[MicroBatch], compute: Compute, ranks: Ranks
) -> float:
    """Mean loss over all supervised tokens of all processes, nats a token, however they are batched."""
    supervised.eval()
    sums = []  # of loss and number of tokens; added up in the end, in float64
    for batch in batches:
        with compute.autocast():
            loss = supervised(*batch.to(compute.device))
        sums.append(torch.stack([loss, torch.full_like(loss, len(batch.labels))]))
    supervised.train()
    total, tokens = ranks.sum(torch.stack(sums).cpu().double().sum(0)).tolist()
    return total / max(tokens, 1)
