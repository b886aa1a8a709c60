"""Which examples make up an optimiser step, and how they go through the model: a few at a time, by length.

    indices = step_indices(len(examples), batch_size=64, seed=0, step=17)
    for batch in micro_batches(examples, indices, max_tokens=4096): ...

Which examples make a step follows from the seed and the number of the step alone, so a run that goes on needs
no memory of what it has read.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from common.batching import split_by_length
from common.device import Compute
from common.seeds import derived_seed
from dataset import IGNORE_INDEX, InstructionDataset, custom_collate_fn
from model import GPT2

T = TypeVar("T")


class MicroBatch(NamedTuple):
    """Examples that go through the model together; N of their B x T positions are supervised."""

    inputs: Tensor  # (B, T) int64
    positions: Tensor  # (N,) int64, places in the flattened inputs
    labels: Tensor  # (N,) int64, what is to be predicted there

    def pinned(self, device: torch.device) -> "MicroBatch":
        """Where a CUDA GPU can fetch it while it computes."""
        return MicroBatch(*(x.pin_memory() for x in self)) if device.type == "cuda" else self

    def to(self, device: torch.device) -> "MicroBatch":
        """On the device. What is not pinned is waited for: it might be read after it was freed."""
        fetched = device.type == "cuda" and self.inputs.is_pinned()
        return MicroBatch(*(x.to(device, non_blocking=fetched) for x in self))


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


def overhead_tokens(compute: Compute, model: GPT2) -> int:
    """Tokens whose work takes as long as one more micro-batch costs.

    On a CPU each micro-batch adds up the gradients of embeddings and output layer (measured for 30m). On a
    GPU it launches all kernels of all layers anew: some 0.8 ms a layer (of the host; counted in the
    rehearsal of a GPU), in which 200 GFLOP could be done (assumed: a quarter of an H100's peak).
    """
    if compute.device.type != "cuda":
        return 64
    c = model.config
    flop = 6 * (12 * c.num_layers * c.embedding_dim**2 + c.vocab_size * c.embedding_dim)  # of a token
    return round(2e11 * (c.num_layers + 1) / flop)


def ahead(make: Callable[[int], T], numbers: Iterable[int]) -> Iterator[T]:
    """make(n) for each of the numbers, each made in a thread while the one before is in use."""
    with ThreadPoolExecutor(1) as thread:
        coming: list[Future[T]] = []
        for number in numbers:
            coming.append(thread.submit(make, number))
            if len(coming) > 1:
                yield coming.pop(0).result()
        for future in coming:
            yield future.result()
