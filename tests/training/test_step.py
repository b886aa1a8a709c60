"""What an optimiser step must not do on a GPU, seen on the CPU: wait for it, or compile anew."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from common.device import Compute
from common.signals import StopRequest
from dataset import InstructionDataset
from finetune import Settings
from tiny import TINY, tiny_model
from training import loss
from training.batches import ahead
from training.distributed import Ranks
from training.trainer import Supervised, Trainer

aten = torch.ops.aten
READS = {
    *(aten._local_scalar_dense, aten.item, aten.is_nonzero, aten.equal),
    *(aten.nonzero, aten.masked_select, aten._unique2),  # whose size is read
    *(Tensor.tolist, Tensor.numpy, Tensor.cpu),  # which on a CPU have nothing to fetch
}


class NoReads(TorchDispatchMode):
    """Fails where the host would wait for a number that a GPU computes."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = function is aten.index.Tensor and any(
            x is not None and x.dtype == torch.bool for x in args[1]
        )
        assert function.overloadpacket not in READS, f"{function} reads a tensor"
        assert not by_mask, f"{function} reads a tensor"
        return function(*args, **(kwargs or {}))


class NoReadsByName(TorchFunctionMode):
    """The same, of what can only be told from others by its name in Python."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert function not in READS, f"{function} reads a tensor"
        return function(*args, **(kwargs or {}))


@contextmanager
def no_reads() -> Iterator[None]:
    with NoReadsByName(), NoReads():
        yield


@pytest.fixture(scope="module")
def rows(data: str) -> InstructionDataset:
    return InstructionDataset("train", TINY["context_length"], data=data, vocab_size=TINY["vocab_size"])


def make_trainer(rows: InstructionDataset, dtype: torch.dtype = torch.float32, **settings: Any) -> Trainer:
    compute = Compute(torch.device("cpu"), dtype, "")
    model = tiny_model(dropout_rate=0.1)
    return Trainer(Settings(micro_batch_tokens=800, **settings), model, rows, 10, compute, Ranks())


@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_step_reads_no_tensor(rows: InstructionDataset, dtype: torch.dtype, clip: float) -> None:
    trainer = make_trainer(rows, dtype, grad_clip=clip, lr=1e-2)
    before = trainer.model.output_layer.weight.detach().clone()
    for step in (0, 1):
        indices, batches = trainer.prepare(step)
        assert len(batches) > 1
        with no_reads():
            trainer.step(step, indices, batches, StopRequest())
    assert not torch.equal(trainer.model.output_layer.weight, before)


def test_a_read_would_be_seen_wherever_in_a_step_it_is(rows: InstructionDataset) -> None:
    def by_mask(x: Tensor) -> Tensor:
        return x[x > 0]

    number = torch.tensor([1.0])
    for read in (Tensor.item, bool, Tensor.tolist, Tensor.cpu, Tensor.nonzero, Tensor.unique, by_mask):
        with no_reads(), pytest.raises(AssertionError, match="reads a tensor"):
            read(number)

    def read_gradient(gradient: Tensor) -> None:
        gradient.max().item()

    trainer = make_trainer(rows)
    trainer.model.blocks[0].layer_norm1.weight.register_hook(read_gradient)  # type: ignore[union-attr,operator]
    indices, batches = trainer.prepare(0)
    with no_reads(), pytest.raises(AssertionError, match="_local_scalar_dense"):
        trainer.step(0, indices, batches, StopRequest())


def test_the_largest_micro_batch_leaves_everything_as_it_was(
    rows: InstructionDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "device_count", lambda: 0)  # for fork_rng, which a CPU never comes to
    trainer = make_trainer(rows, batch_size=8)
    seen: list[tuple[int, ...]] = []
    trainer.supervised.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    random = torch.get_rng_state()
    trainer.try_largest(200)
    assert seen == [(4, 200)]  # of 800 tokens
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, before[name])
    assert not trainer.optimizer.adamw.state
    trainer.try_largest(50)
    trainer.max_tokens = 100
    trainer.try_largest(384)
    assert seen[1:] == [(8, 50), (1, 384)]  # no more than a step has; a row at least


@pytest.fixture
def graphs() -> Iterator[Any]:
    """How many there are so far; without a compiler, which a machine may lack."""
    torch._dynamo.reset()
    counters.clear()
    yield lambda: counters["stats"]["unique_graphs"]
    torch._dynamo.reset()
    counters.clear()


SHAPES = ((4, 128), (8, 64), (2, 384), (3, 192), (2, 320), (5, 8), (64, 16))


def test_all_shapes_share_a_graph(graphs: Any) -> None:
    model = tiny_model().train()
    hidden = torch.compile(model.hidden, dynamic=True, fullgraph=True, backend="eager")
    for shape in SHAPES:
        hidden(torch.randint(0, TINY["vocab_size"], shape)).sum().backward()
    assert graphs() == 1
    model.eval()
    with torch.no_grad():
        for shape in SHAPES:
            hidden(torch.randint(0, TINY["vocab_size"], shape))
    assert graphs() <= 2


def test_a_single_row_needs_no_graph_of_its_own(graphs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "_compiled", lambda: loss._loss_and_gradient)
    model = tiny_model().train()
    plain, compiled = Supervised(model), Supervised(model)
    compiled.compiled = True
    compiled.hidden = torch.compile(model.hidden, dynamic=True, fullgraph=True, backend="eager")
    for shape in ((1, 64), *SHAPES, (1, 384), (1, 8)):
        inputs = torch.randint(0, TINY["vocab_size"], shape)
        given = inputs, torch.arange(1, inputs.numel(), 2), inputs.flatten()[1::2]
        torch.testing.assert_close(compiled(*given), plain(*given))
    assert graphs() == 1


def test_what_is_made_ahead_comes_in_order_and_no_more_than_one_is() -> None:
    asked: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(5):
            asked.append(number)
            yield number

    for place, made in enumerate(ahead(lambda number: number * 10, numbers())):
        assert made == place * 10
        assert asked == list(range(min(place + 2, 5)))
    assert place == 4
    assert list(ahead(str, [])) == []
    assert list(ahead(str, [7])) == ["7"]


def test_the_next_is_made_while_one_is_in_use() -> None:
    made = [threading.Event() for _ in range(3)]
    for number in ahead(lambda number: made[number].set() or number, range(3)):  # type: ignore[func-returns-value]
        assert all(each.wait(timeout=60) for each in made[: number + 2])


def test_an_error_in_what_is_made_ahead_comes_in_its_place() -> None:
    coming = ahead(lambda number: 6 // (2 - number), range(4))
    assert [next(coming), next(coming)] == [3, 6]
    with pytest.raises(ZeroDivisionError):
        next(coming)
