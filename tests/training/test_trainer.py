import functools
import itertools
import math
import random

import pytest
import torch
from torch import Tensor

from common.device import choose_compute
from common.signals import StopRequest
from dataset import IGNORE_INDEX, InstructionDataset, custom_collate_fn
from finetune import Settings, compute_loss
from model import GPT2, load_model
from training import trainer
from training.batches import MicroBatch, micro_batches
from training.distributed import Ranks
from training.trainer import Supervised, add_gradient, learning_rate, validation_loss

CPU = choose_compute("cpu")
ALONE = Ranks()


@pytest.fixture(scope="module")
def rows(data: str) -> InstructionDataset:
    return InstructionDataset("train", 384, data=data, vocab_size=512)


def gathered(rows: InstructionDataset, groups: list[list[int]]) -> list[MicroBatch]:
    """A micro-batch of each group, whatever its size."""
    return [
        batch
        for group in groups
        for batch in micro_batches(rows, group, 10**9, overhead=10**9, pad_token_id=511)
    ]


def gradient(model: GPT2, batches: list[MicroBatch], tokens: int) -> tuple[float, Tensor]:
    model.zero_grad()
    total = add_gradient(Supervised(model), batches, tokens, CPU, ALONE, StopRequest())
    return total.item() / tokens, torch.cat([p.grad.flatten() for p in model.parameters()])  # type: ignore[union-attr]


def cut(indices: list[int], pieces: int, rng: random.Random) -> list[list[int]]:
    """`indices` in so many parts of random size."""
    ends = sorted(rng.sample(range(1, len(indices)), pieces - 1))
    return [indices[a:b] for a, b in itertools.pairwise([0, *ends, len(indices)])]


def test_loss_and_gradient_do_not_depend_on_how_a_step_is_split(
    checkpoint: str, rows: InstructionDataset
) -> None:
    model = load_model(checkpoint)
    rng = random.Random(0)
    indices = [rng.randrange(len(rows)) for _ in range(64)]
    by_length = sorted(indices, key=lambda i: int(rows.lengths[i]))
    tokens = int(rows.supervised_tokens()[indices].sum())

    batch = custom_collate_fn([rows[i] for i in indices], pad_token_id=511)
    plain = compute_loss(model(batch["input_ids"]), batch["labels"])
    plain.backward()
    expected = torch.cat([p.grad.flatten() for p in model.parameters()])  # type: ignore[union-attr]
    splits = {
        "whole": [indices],
        "single": [[i] for i in indices],
        "uneven": cut(indices, 7, rng),
        "sorted": cut(by_length, 7, rng),
    }
    for name, groups in splits.items():
        batches = gathered(rows, groups)
        assert len(batches) == len(groups), name
        loss, found = gradient(model, batches, tokens)
        assert loss == pytest.approx(plain.item(), rel=1e-6), name
        assert (found - expected).norm() < 1e-5 * expected.norm(), name


def test_validation_loss_does_not_depend_on_the_split(checkpoint: str, rows: InstructionDataset) -> None:
    model = load_model(checkpoint)
    loss = functools.partial(validation_loss, Supervised(model), compute=CPU, ranks=ALONE)
    indices = list(range(len(rows)))
    whole = loss(gathered(rows, [indices]))
    batch = custom_collate_fn([rows[i] for i in indices], pad_token_id=511)
    with torch.no_grad():
        assert whole == pytest.approx(compute_loss(model(batch["input_ids"]), batch["labels"]).item())
    assert loss(gathered(rows, [[i] for i in indices])) == pytest.approx(whole, rel=1e-6)
    assert loss(gathered(rows, cut(indices, 7, random.Random(1)))) == pytest.approx(whole, rel=1e-6)


def test_ignored_positions_never_reach_the_output_layer(
    checkpoint: str, rows: InstructionDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def watched(hidden: Tensor, layer: torch.nn.Linear, labels: Tensor, compiled: bool) -> Tensor:
        seen.append(len(hidden))
        assert (labels != IGNORE_INDEX).all()
        return summed(hidden, layer, labels, compiled)

    summed = trainer.summed_loss
    monkeypatch.setattr(trainer, "summed_loss", watched)
    indices = list(range(6))
    for loss_on in ("all", "response"):
        tokens = rows.supervised_tokens(loss_on)[indices].sum()
        batches = list(micro_batches(rows, indices, 1000, pad_token_id=511, loss_on=loss_on))
        gradient(load_model(checkpoint), batches, int(tokens))
        assert sum(seen) == tokens
        seen.clear()


def test_learning_rate_warms_up_then_stays_or_follows_half_a_cosine() -> None:
    plain = Settings(lr=1.0)
    assert [learning_rate(step, 10, plain) for step in (0, 9)] == [1.0, 1.0]
    cosine = Settings(lr=1.0, warmup_steps=4, schedule="cosine")
    assert [learning_rate(step, 12, cosine) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert learning_rate(4, 12, cosine) == 1.0
    assert learning_rate(8, 12, cosine) == pytest.approx(0.5)
    assert learning_rate(11, 12, cosine) == pytest.approx((1 + math.cos(math.pi * 7 / 8)) / 2)
