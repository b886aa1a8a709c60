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
    assert line["tokens_per_second"] > 0
    assert progress == Progress()


def test_the_first_step_that_is_not_finite_is_named() -> None:
    statistics = StepStatistics(Progress(), Ranks(), np.array([1, 1, 1]), np.array([1, 1, 1]))
    for step, (loss, norm) in enumerate([(1.0, 1.0), (1.0, math.inf), (math.nan, 1.0)], start=1):
        statistics.progress.step = step
        statistics.add([step - 1], [], torch.tensor(loss), torch.tensor(norm))
    with pytest.raises(InputError, match=r"step 2: the gradient's norm is inf \(examples 1 of train\)"):
        statistics.collect()
