import pytest
import torch
from torch import Tensor

from common.device import Compute
from common.errors import InputError
from common.signals import StopRequest
from model import GPT2
from tiny import IDS, tiny_model
from training.batches import MicroBatch
from training.distributed import Ranks
from training.optimizer import Optimizer
from training.trainer import Supervised, add_gradient

FULL, HALF = (Compute(torch.device("cpu"), dtype, "") for dtype in (torch.float32, torch.float16))
BATCHES = [MicroBatch(row[None, :-1], torch.arange(len(row) - 1), row[1:]) for row in IDS]
TOKENS = sum(len(batch.labels) for batch in BATCHES)


def weights(model: GPT2) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def add_gradients(model: GPT2, optimizer: Optimizer, compute: Compute) -> None:
    optimizer.zero_grad()
    add_gradient(Supervised(model), BATCHES, TOKENS, compute, Ranks(), StopRequest(), optimizer.scaled)


def gradients(model: GPT2, compute: Compute) -> Tensor:
    """As they reach AdamW."""
    optimizer = Optimizer(model, compute)
    add_gradients(model, optimizer, compute)
    optimizer.step(rate=0.0)
    return torch.cat([p.grad.flatten() for p in model.parameters()])  # type: ignore[union-attr]


def spoil(model: GPT2) -> None:
    """One number of all gradients is infinite."""
    gradient = model.layer_norm.weight.grad
    assert gradient is not None
    gradient[3] = torch.inf


def test_the_weights_of_linear_layers_decay_and_no_others() -> None:
    model = tiny_model()
    before = weights(model)
    optimizer = Optimizer(model, FULL, weight_decay=5.0)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(rate=0.1)
    decayed = []
    for name, weight in model.named_parameters():
        if not torch.equal(weight, before[name]):
            torch.testing.assert_close(weight, before[name] * 0.5)
            decayed.append(name)
    block = ["mha.qkv", "mha.out_proj", "feed_forward.layers.0", "feed_forward.layers.2"]
    layers = [f"blocks.{i}.{layer}" for i in (0, 1) for layer in block]
    assert decayed == [f"{layer}.weight" for layer in [*layers, "output_layer"]]


@pytest.mark.parametrize("compute", [FULL, HALF], ids=["float32", "float16"])
def test_the_norm_is_that_of_the_gradient_before_it_is_clipped(compute: Compute) -> None:
    model = tiny_model()
    expected = gradients(model, FULL).norm()
    optimizer = Optimizer(model, compute, grad_clip=0.25)
    add_gradients(model, optimizer, compute)
    torch.testing.assert_close(optimizer.step(rate=0.0), expected, rtol=1e-2, atol=0)
    clipped = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    assert expected > 1
    torch.testing.assert_close(clipped, torch.tensor(0.25))


def test_in_float32_nothing_is_scaled_or_skipped() -> None:
    optimizer = Optimizer(tiny_model(), FULL)
    loss = torch.tensor(3.0)
    assert optimizer.scaled(loss) is loss
    assert not optimizer.may_skip


def test_float16_gives_float32s_gradient_to_a_hundredth() -> None:
    """Each number has 11 bits, an error of 0.05%."""
    model = tiny_model()
    expected, half = gradients(model, FULL), gradients(model, HALF)
    assert 0 < (half - expected).norm() < 0.01 * expected.norm()


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_gradient_that_is_not_finite_halves_the_scale_and_changes_nothing_else(clip: float) -> None:
    model = tiny_model()
    optimizer = Optimizer(model, HALF, grad_clip=clip)
    assert optimizer.may_skip
    before, scale = weights(model), optimizer.scaler.get_scale()
    add_gradients(model, optimizer, HALF)
    spoil(model)
    assert not optimizer.step(rate=0.1).isfinite()
    assert optimizer.scaler.get_scale() == scale / 2
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())
    assert not any(value.any() for state in optimizer.adamw.state.values() for value in state.values())

    add_gradients(model, optimizer, HALF)
    assert optimizer.step(rate=0.1).isfinite()
    assert optimizer.scaler.get_scale() == scale / 2
    for name, weight in model.named_parameters():
        assert weight.isfinite().all()
        assert not torch.equal(weight, before[name])


def test_the_scale_is_saved_and_comes_back() -> None:
    model = tiny_model()
    optimizer = Optimizer(model, HALF)
    for spoilt in (True, False, False):
        add_gradients(model, optimizer, HALF)
        if spoilt:
            spoil(model)
        optimizer.step(rate=0.0)
    saved = optimizer.state_dict()
    assert saved["scaler"]["scale"] == 2.0**15
    assert saved["scaler"]["_growth_tracker"] == 2
    other = Optimizer(model, HALF)
    other.load_state_dict({**saved, "progress": 1})
    assert other.state_dict()["scaler"] == saved["scaler"]
    assert other.scaled(torch.tensor(1.0)) == 2.0**15


@pytest.mark.parametrize(("saved", "loaded"), [(FULL, HALF), (HALF, FULL)], ids=["to half", "to full"])
def test_a_run_may_go_on_in_another_precision(saved: Compute, loaded: Compute) -> None:
    model = tiny_model()
    before, after = Optimizer(model, saved), Optimizer(model, loaded)
    add_gradients(model, before, saved)
    before.step(rate=0.1)
    after.load_state_dict(before.state_dict())
    add_gradients(model, after, loaded)
    assert after.step(rate=0.1).isfinite()
    assert {float(state["step"]) for state in after.adamw.state.values()} == {2}


@pytest.mark.parametrize("scaler", [{}, {"scaler": {}}], ids=["older", "of this age"])
def test_a_state_in_which_all_weights_decayed_is_refused_in_one_line(scaler: dict[str, object]) -> None:
    model = tiny_model()
    state = {"optimizer": torch.optim.AdamW(model.parameters()).state_dict(), **scaler}
    with pytest.raises(InputError, match=r"^--resume: .* older version.*--overwrite$"):
        Optimizer(model, FULL).load_state_dict(state)
