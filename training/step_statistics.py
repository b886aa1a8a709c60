"""Loss and speed of the steps since the last line of metrics.jsonl, over all processes."""

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from common.errors import InputError
from training.batches import MicroBatch
from training.distributed import Ranks
from training.run_folder import Progress

if TYPE_CHECKING:
    import numpy as np

MOST_SKIPPED = 100  # steps in a row


class StepStatistics:
    """What a step computed stays on the device until it is asked for: a GPU is not made to wait every
    step."""

    def __init__(
        self,
        progress: Progress,
        ranks: Ranks,
        lengths: "np.ndarray",
        supervised_tokens: "np.ndarray",
        may_skip: bool = False,
    ) -> None:
        self.progress, self.ranks, self.may_skip = progress, ranks, may_skip
        self.lengths, self.supervised_tokens = lengths, supervised_tokens
        self.waiting: list[tuple[int, list[int], Tensor, Tensor]] = []  # step, examples, loss, norm
        self.padded = 0  # of the steps that are waiting, in this process
        self.norm: float | None = None
        self.start_clock()

    def start_clock(self) -> None:
        """Leave the time since the last line out of the speed."""
        self.started, self.timed = time.perf_counter(), 0

    def add(self, indices: list[int], batches: Sequence[MicroBatch], loss_sum: Tensor, norm: Tensor) -> None:
        """A step that is done: its examples, this process's micro-batches and their loss, the gradient's
        norm."""
        self.waiting.append((self.progress.step, indices, loss_sum, norm))
        self.padded += sum(batch.inputs.numel() for batch in batches)
        useful = int(self.lengths[indices].sum())
        self.timed += useful
        self.progress.useful += useful

    def collect(self) -> None:
        """Add up what is waiting, over all processes. Raises InputError where it is not finite; where the
        optimiser may skip such a step, once it has skipped a hundred in a row."""
        if not self.waiting:
            return
        losses = torch.stack([loss for _, _, loss, _ in self.waiting])
        sums = self.ranks.sum(torch.cat([losses, losses.new_tensor([self.padded])])).tolist()
        norms = torch.stack([norm for *_, norm in self.waiting]).tolist()
        for (step, indices, _, _), loss, norm in zip(self.waiting, sums, norms, strict=False):
            if self.may_skip and not math.isfinite(norm):
                self.progress.skipped += 1
                self.progress.skipped_in_a_row += 1
                if self.progress.skipped_in_a_row < MOST_SKIPPED:
                    continue
            for name, value in (("loss", loss), ("gradient's norm", norm)):
                must_be_finite(value, f"step {step}: the {name}", indices)
            self.progress.skipped_in_a_row = 0
            self.progress.loss += loss
            self.progress.supervised += int(self.supervised_tokens[indices].sum())
            self.norm = norm
        self.progress.padded += int(sums[-1])
        self.waiting, self.padded = [], 0

    def line(self) -> dict[str, float | None]:
        """The figures since the last call; None where every step was skipped."""
        self.collect()
        progress, seconds = self.progress, time.perf_counter() - self.started
        values = {
            "loss": progress.loss / progress.supervised if progress.supervised else None,
            "gradient_norm": self.norm,
            "padding": 1 - progress.useful / max(progress.padded, 1),
            "tokens_per_second": round(self.timed / seconds),
        }
        if self.may_skip:
            values["skipped_steps"] = progress.skipped
        progress.loss, progress.supervised, progress.useful, progress.padded = 0.0, 0, 0, 0
        progress.skipped = 0
        self.start_clock()
        return values


def must_be_finite(value: float, what: str, examples: Sequence[int] = ()) -> None:
    """Raises InputError, with what to do, if a loss or a norm is infinite or no number."""
    if not math.isfinite(value):
        which = f" (examples {', '.join(map(str, examples))} of train)" if examples else ""
        raise InputError(f"{what} is {value}{which}; lower --lr, or add --grad-clip or --warmup-steps")
