import functools
import itertools
import random

import torch
from hypothesis import given
from hypothesis import strategies as st

from common.batching import split_by_length
from common.seeds import derived_seed
from dataset import InstructionDataset, custom_collate_fn
from training.batches import micro_batches, shard, step_indices

LENGTHS = st.lists(st.integers(1, 60), max_size=24)


@given(st.integers(1, 40), st.integers(1, 15), st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_has_every_example_once_and_the_last_step_counts(
    examples: int, batch_size: int, seed: int, epoch: int
) -> None:
    steps = -(-examples // batch_size)
    epochs = [
        [step_indices(examples, batch_size, seed, e * steps + i) for i in range(steps)] for e in (0, epoch)
    ]
    for batches in epochs:
        assert sorted(itertools.chain(*batches)) == list(range(examples))
        assert [len(batch) for batch in batches[:-1]] == [batch_size] * (steps - 1)
    assert epochs[-1] == [step_indices(examples, batch_size, seed, epoch * steps + i) for i in range(steps)]


def test_the_order_differs_by_epoch_and_seed() -> None:
    orders = {tuple(step_indices(50, 50, seed, epoch)) for seed in (0, 1) for epoch in (0, 1, 2)}
    assert len(orders) == 6
    seeds = {derived_seed(0, purpose, number) for purpose in ("order", "dropout") for number in (0, 1)}
    assert len(seeds) == 4


@given(LENGTHS, st.integers(1, 5))
def test_examples_are_dealt_out_without_doubling(lengths: list[int], size: int) -> None:
    shares = [shard(range(len(lengths)), lengths, rank, size) for rank in range(size)]
    assert sorted(itertools.chain(*shares)) == list(range(len(lengths)))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_micro_batches_hold_what_collation_made(data: str) -> None:
    rows = InstructionDataset("train", 384, data=data, vocab_size=512)
    for loss_on in ("all", "response"):
        collate = functools.partial(custom_collate_fn, pad_token_id=511, loss_on=loss_on)
        indices = list(range(10))
        counts = rows.supervised_tokens(loss_on)
        assert [int((collate([rows[i]])["labels"] != -100).sum()) for i in indices] == counts[:10].tolist()
        whole = collate([rows[i] for i in indices])
        learnt = sorted(whole["labels"][whole["labels"] != -100].tolist())
        split = list(micro_batches(rows, indices, 1000, pad_token_id=511, loss_on=loss_on))
        assert len(split) > 1
        assert all(batch.inputs.numel() <= 1000 for batch in split)
        assert sorted(itertools.chain(*(batch.labels.tolist() for batch in split))) == learnt
        for batch in split:
            # Before the end of the story, the label is the next input.
            places = batch.positions[batch.labels != 511]
            assert torch.equal(batch.inputs.flatten()[places + 1], batch.labels[batch.labels != 511])


def test_padding_all_but_vanishes() -> None:
    rng = random.Random(0)
    lengths = [min(round(rng.lognormvariate(5.5, 0.4)), 512) for _ in range(64)]  # about as real ones are
    groups = split_by_length(lengths, 2048, overhead=64)
    padded = sum(len(group) * max(lengths[i] for i in group) for group in groups)
    assert padded < 1.04 * sum(lengths)
    assert len(lengths) * max(lengths) > 1.5 * sum(lengths)


def test_widths_are_multiples_where_few_shapes_are_wanted(data: str) -> None:
    rows = InstructionDataset("train", 384, data=data, vocab_size=512)
    batches = list(micro_batches(rows, list(range(12)), 2048, pad_token_id=511, multiple=64))
    assert {batch.inputs.shape[1] % 64 for batch in batches} == {0}
    assert sum(len(batch.labels) for batch in batches) == rows.supervised_tokens()[:12].sum()


def test_no_examples_still_make_a_micro_batch(data: str) -> None:
    rows = InstructionDataset("train", 384, data=data, vocab_size=512)
    (batch,) = micro_batches(rows, [], 100, pad_token_id=511)
    assert batch.inputs.tolist() == [[511]]
    assert len(batch.labels) == 0
