import math

import numpy as np
import pytest
import torch

from common.errors import InputError
from training.batches import MicroBatch
from training.distributed import Ranks
from training.run_folder import Progress
from training.step_statistics import StepStatistics


def batch(width: int) -> MicroBatch:
    nothing = torch.empty(0, dtype=torch.int64)
    return MicroBatch(torch.zeros(2, width, dtype=torch.int64), nothing, nothing)


def test_a_line_of_metrics_is_the_mean_over_its_steps() -> None:
    progress = Progress()
    statistics = StepStatistics(
        progress, Ranks(), lengths=np.array([5, 3, 4]), supervised_tokens=np.array([4, 2, 3])
    )
    statistics.add([0, 1], [batch(5)], torch.tensor(12.0), torch.tensor(1.0))
    statistics.collect()  # a save between two lines changes nothing
    statistics.add([2], [batch(4)], torch.tensor(3.0), torch.tensor(7.0))
    line = statistics.line()
    assert line["loss"] == pytest.approx(15 / 9)
    assert line["gradient_norm"] == 7
    assert line["padding"] == pytest.approx(1 - 12 / 18)
    assert (line["tokens_per_second"] or 0) > 0
    assert progress == Progress()


def test_the_first_step_that_is_not_finite_is_named() -> None:
    statistics = StepStatistics(Progress(), Ranks(), np.array([1, 1, 1]), np.array([1, 1, 1]))
    for step, (loss, norm) in enumerate([(1.0, 1.0), (1.0, math.inf), (math.nan, 1.0)], start=1):
        statistics.progress.step = step
        statistics.add([step - 1], [], torch.tensor(loss), torch.tensor(norm))
    with pytest.raises(InputError, match=r"step 2: the gradient's norm is inf \(examples 1 of train\)"):
        statistics.collect()


def in_half(progress: Progress) -> StepStatistics:
    return StepStatistics(progress, Ranks(), np.array([5, 3]), np.array([4, 2]), may_skip=True)


def add(statistics: StepStatistics, norm: float, loss: float = 3.0, times: int = 1) -> None:
    for _ in range(times):
        statistics.progress.step += 1
        statistics.add([1], [batch(3)], torch.tensor(loss), torch.tensor(norm))


@pytest.mark.parametrize("norm", [math.inf, math.nan])
def test_a_skipped_step_is_counted_and_its_loss_is_not(norm: float) -> None:
    statistics = in_half(Progress())
    add(statistics, 1.0)
    add(statistics, norm, loss=math.nan)
    statistics.collect()
    add(statistics, norm, loss=1e9, times=2)
    add(statistics, 2.0, loss=5.0)
    add(statistics, norm)
    line = statistics.line()
    assert (line["skipped_steps"], line["gradient_norm"]) == (4, 2)
    assert line["loss"] == (3 + 5) / (2 + 2)
    add(statistics, 1.0)
    line = statistics.line()
    assert (line["skipped_steps"], line["loss"]) == (0, 3 / 2)


def test_a_line_of_nothing_but_skipped_steps_has_no_loss() -> None:
    statistics = in_half(Progress())
    add(statistics, math.inf, times=3)
    line = statistics.line()
    assert (line["skipped_steps"], line["loss"], line["gradient_norm"]) == (3, None, None)
    assert line["padding"] == pytest.approx(1 - 3 * 3 / (3 * 6))
    assert statistics.progress.skipped_in_a_row == 3  # whatever the lines are


@pytest.mark.parametrize("collected", [1, 7, 1000])
def test_a_hundred_skipped_steps_in_a_row_are_an_error(collected: int) -> None:
    """However often they were collected; one that was not skipped starts the count anew."""
    statistics = in_half(Progress())
    for step in range(1, 200):
        add(statistics, 1.0 if step == 100 else math.inf)
        if step % collected == 0:
            statistics.collect()
    add(statistics, math.inf)
    with pytest.raises(InputError, match=r"step 200: the gradient's norm is inf \(examples 1 of train\)"):
        statistics.collect()
    assert statistics.progress.skipped == 99 + 100


def test_the_count_in_a_row_goes_on_where_the_run_does() -> None:
    statistics = in_half(Progress(skipped_in_a_row=98))
    add(statistics, math.inf)
    statistics.collect()
    add(statistics, math.inf)
    with pytest.raises(InputError):
        statistics.collect()


def test_a_step_that_was_not_skipped_must_have_a_finite_loss() -> None:
    statistics = in_half(Progress())
    add(statistics, 1.0, loss=math.nan)
    with pytest.raises(InputError, match="step 1: the loss is nan"):
        statistics.collect()


def test_without_skipping_no_line_speaks_of_it() -> None:
    statistics = StepStatistics(Progress(), Ranks(), np.array([5, 3]), np.array([4, 2]))
    add(statistics, 1.0)
    assert "skipped_steps" not in statistics.line()
