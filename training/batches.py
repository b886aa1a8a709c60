"""Which examples make up an optimiser step, and how they go through the model: a few at a time, by length.

    indices = step_indices(len(examples), batch_size=64, seed=0, step=17)
    for batch in micro_batches(examples, indices, max_tokens=4096): ...

Which examples make a step follows from the seed and the number of the step alone, so a run that goes on needs
no memory of what it has read.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from common.batching import split_by_length
from common.device import Compute
from common.seeds import derived_seed
from dataset import IGNORE_INDEX, InstructionDataset, custom_collate_fn
from model import GPT2


class MicroBatch(NamedTuple):
    """Examples that go through the model together; N of their B x T positions are supervised."""

    inputs: Tensor  # (B, T) int64
    positions: Tensor  # (N,) int64, places in the flattened inputs
    labels: Tensor  # (N,) int64, what is to be predicted there

    def to(self, device: torch.device) -> "MicroBatch":
        """On a GPU while it computes: from pinned memory, without waiting."""
        pin = device.type == "cuda"
        return MicroBatch(*((x.pin_memory() if pin else x).to(device, non_blocking=True) for x in self))


@functools.lru_cache(maxsize=2)
def _order(examples: int, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed(derived_seed(seed, "order", epoch))
    return torch.randperm(examples, generator=generator)


def step_indices(examples: int, batch_size: int, seed: int, step: int) -> list[int]:
    """The examples of step `step` (from 0), none twice in an epoch; the last step has fewer."""
    epoch, place = divmod(step, -(-examples // batch_size))
    return _order(examples, seed, epoch)[place * batch_size : (place + 1) * batch_size].tolist()


def shard(indices: Sequence[int], lengths: Sequence[int], rank: int, size: int) -> list[int]:
    """The part of process `rank` of `size`: each index goes to one of them, long ones in turn."""
    return sorted(indices, key=lambda i: (-lengths[i], i))[rank::size]


def micro_batches(
    examples: InstructionDataset,
    indices: Sequence[int],
    max_tokens: int,
    overhead: int = 0,
    pad_token_id: int = 50256,
    loss_on: str = "all",
    multiple: int = 1,
) -> Iterator[MicroBatch]:
    """The examples `indices` in groups of similar length, each of at most `max_tokens` tokens with padding.

    With `multiple`, widths T are multiples of it, so that there are few different ones. No example at all
    gives one micro-batch of one token, none supervised: every process has something to compute.
    """
    lengths = [-(-int(examples.lengths[i]) // multiple) * multiple for i in indices]
    for group in split_by_length(lengths, max_tokens, overhead):
        batch = custom_collate_fn(
            [examples[indices[place]] for place in group], pad_token_id, loss_on=loss_on, multiple=multiple
        )
        labels = batch["labels"].flatten()
        positions = (labels != IGNORE_INDEX).nonzero().squeeze(1)
        yield MicroBatch(batch["input_ids"], positions, labels[positions])
    if not indices:
        nothing = torch.empty(0, dtype=torch.int64)
        yield MicroBatch(torch.full((1, multiple), pad_token_id), nothing, nothing)


def overhead_tokens(device: torch.device) -> int:
    """Tokens whose work takes as long as one more micro-batch costs, to the nearest power of two.

    On a CPU each micro-batch adds up the gradients of embeddings and output layer (measured for 30m). On a
    GPU each launches all kernels anew (not measured).
    """
    return 1024 if device.type == "cuda" else 64


def affordable_tokens(compute: Compute, model: GPT2) -> int:
    """Tokens, padding counted, that may go through `model` at once in training.

    On a GPU, half of its free memory after gradients and AdamW's two moments (12 bytes a parameter), at 64
    bytes of activations for every token, layer and dimension (128 in float32), estimated, not measured.
    On a CPU, more was not faster.
    """
    if compute.device.type != "cuda":
        return 2048
    config = model.config
    free, _ = torch.cuda.mem_get_info(compute.device)
    free -= 12 * sum(p.numel() for p in model.parameters())
    a_token = (64 if compute.dtype == torch.bfloat16 else 128) * config.num_layers * config.embedding_dim
    return min(max(free // 2 // a_token, config.context_length), 65536)
