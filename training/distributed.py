"""Several processes that train one model together, started by torchrun. One alone is a special case of it.

    ranks = Ranks.here()
    with ranks.connected(device):
        with ranks.first(): ...        # what rank 0 makes (a download, a cache), the others find

Only rank 0 writes files and prints.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import torch
import torch.distributed as dist
from torch import Tensor

from common import cli
from common.errors import InputError
from common.signals import Ended

# How long processes wait for each other. That one died is noticed at once on a CPU; NCCL's wait for it.
PATIENCE = timedelta(minutes=10)
LONG_PATIENCE = timedelta(hours=2)  # while rank 0 downloads, tokenises and saves


@dataclass(frozen=True)
class Ranks:
    rank: int = 0
    size: int = 1  # processes, each with a rank below it
    local_rank: int = 0  # on this machine
    patient: ClassVar[dist.ProcessGroup | None] = None  # all processes, with LONG_PATIENCE

    @classmethod
    def here(cls) -> "Ranks":
        """What torchrun says in the environment (see its manual); a process it did not start is alone.

        Raises InputError if the environment says something else than torchrun does.
        """
        given = [os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")]
        rank, size, _ = given
        if size in ("", "1"):
            return cls()
        is_met = {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()  # where the processes find each other
        if not is_met or not all(map(str.isdecimal, given)) or int(rank) >= int(size):
            raise InputError(
                f"WORLD_SIZE is {size!r} in the environment, without RANK, LOCAL_RANK, MASTER_ADDR and "
                "MASTER_PORT as torchrun sets them: unset it, or start with torchrun"
            )
        return cls(*map(int, given))

    @contextlib.contextmanager
    def connected(self, device: torch.device) -> Iterator[None]:
        """For the length of the block; all but rank 0 print nothing in it.

        What ends the block, but a signal, which ends it in all processes together, also ends this process, at
        once and told by `cli.tell`: disconnecting would wait for the others, and they for this one.
        """
        if self.size == 1:
            yield
            return
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        Ranks.patient = dist.new_group(backend="gloo", timeout=LONG_PATIENCE)
        try:
            with contextlib.ExitStack() as silence:
                if self.rank:
                    silence.enter_context(
                        contextlib.redirect_stdout(silence.enter_context(open(os.devnull, "w")))
                    )
                yield
        except Ended:
            dist.destroy_process_group()
            raise
        except BaseException as error:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, until the reason is told
            if isinstance(error, dist.DistError) or (
                isinstance(error, RuntimeError) and "gloo" in str(error)
            ):
                error = InputError(
                    f"process {self.rank}: another process of this run ended, so it cannot go on; start it "
                    "again with --resume"
                )
            status = cli.tell(error)
            sys.stderr.flush()
            os._exit(status)
        dist.destroy_process_group()

    def sum(self, x: Tensor) -> Tensor:
        """`x`, added up over all processes in place."""
        if self.size > 1:
            dist.all_reduce(x)
        return x

    def any(self, *flags: bool, group: dist.ProcessGroup | None = None) -> list[bool]:
        """For each flag whether it is set in any process: in all processes the same answer."""
        if self.size == 1:
            return list(flags)
        together = torch.tensor(flags, dtype=torch.uint8)  # on the CPU: no GPU is waited for
        dist.all_reduce(together, op=dist.ReduceOp.MAX, group=group)
        return together.bool().tolist()

    @contextlib.contextmanager
    def first(self) -> Iterator[None]:
        """Rank 0 goes through the block before the others do."""
        if self.rank:
            self.any(False, group=self.patient)
        yield
        if not self.rank:
            self.any(False, group=self.patient)
