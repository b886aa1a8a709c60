"""Which examples make up an optimiser step, and how they go through the model: a few at a time, by length.

    indices = step_indices(len(examples), batch_size=64, seed=0, step=17)
    for batch in micro_batches(examples, indices, max_tokens=4096): ...

Everything here follows from the seed and the number of the step, so a run that goes on needs no memory of
what it has read.
"""

import functools
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dataset import IGNORE_INDEX, InstructionDataset, custom_collate_fn


class MicroBatch(NamedTuple):
    """Examples that go through the model together; N of their B x T positions are supervised."""

    inputs: Tensor  # (B, T) int64
    positions: Tensor  # (N,) int64, places in the flattened inputs
    labels: Tensor  # (N,) int64, what is to be predicted there

    def to(self, device: torch.device) -> "MicroBatch":
        """On a GPU while it computes: from pinned memory, without waiting."""
        pin = device.type == "cuda"
        return MicroBatch(*((x.pin_memory() if pin else x).to(device, non_blocking=True) for x in self))


def derived_seed(seed: int, purpose: str, *numbers: int) -> int:
    """32 bits for a random generator, others for every purpose and number."""
    return random.Random(f"{seed} {purpose} {numbers}").getrandbits(32)


@functools.lru_cache(maxsize=2)
def _order(examples: int, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed(derived_seed(seed, "order", epoch))
    return torch.randperm(examples, generator=generator)


def step_indices(examples: int, batch_size: int, seed: int, step: int) -> list[int]:
    """The examples of step `step` (from 0), none twice in an epoch; the last step has fewer."""
    epoch, place = divmod(step, -(-examples // batch_size))
    return _order(examples, seed, epoch)[place * batch_size : (place + 1) * batch_size].tolist()


def share(indices: Sequence[int], lengths: Sequence[int], rank: int, size: int) -> list[int]:
    """The part of process `rank` of `size`: each index goes to one of them, long ones in turn."""
    return sorted(indices, key=lambda i: (-lengths[i], i))[rank::size]


def split_by_length(lengths: Sequence[int], max_tokens: int, overhead: int) -> list[list[int]]:
    """Places in `lengths`, in groups that waste least: the longest first, neighbours in length together.

    A group of n examples, padded to its longest, T, takes n T tokens, at most `max_tokens` (unless it is
    one example), and `overhead` more, the tokens that could be computed in the time a further group costs.
    The cheapest of all ways to cut the sorted lengths, by dynamic programming. With overhead 10:
        [30, 90, 31, 90] -> [[1, 3], [2, 0]]: 180 + 62 tokens, where one group would take 360
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    cost = [0.0] + [float("inf")] * len(order)  # of the first j examples, at best
    cut = [0] * (len(order) + 1)  # where their last group begins then
    for i, longest in enumerate(order):
        rows = max(max_tokens // lengths[longest], 1)
        for j in range(i + 1, min(i + rows, len(order)) + 1):
            total = cost[i] + (j - i) * lengths[longest] + overhead
            if total < cost[j]:
                cost[j], cut[j] = total, i
    groups, end = [], len(order)
    while end:
        groups.append(order[cut[end] : end])
        end = cut[end]
    return groups[::-1]


def micro_batches(
    examples: InstructionDataset,
    indices: Sequence[int],
    max_tokens: int,
    *,
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
