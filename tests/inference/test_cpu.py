"""Models made ready for a CPU give what they gave before."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from common import int8
from common.int8 import Int8Linear, quantize
from forked import Forked
from inference import cpu
from inference.cpu import OutputLayer, PackedBlock, for_inference
from model import GPT2, KVCache
from tiny import IDS, tiny_model

pytestmark = pytest.mark.usefixtures("int8_products")


@pytest.fixture(scope="module")
def ready() -> GPT2:
    ready = for_inference(tiny_model())
    assert isinstance(ready.output_layer, OutputLayer)
    assert all(isinstance(block, PackedBlock) for block in ready.blocks)
    return ready


@torch.inference_mode()
def test_logits_are_the_same(model: GPT2, ready: GPT2) -> None:
    torch.testing.assert_close(ready(IDS), model(IDS), atol=1e-4, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("padding", [None, torch.tensor([7, 0, 20])])
def test_hidden_states_with_a_cache_are_the_same(model: GPT2, ready: GPT2, padding: Tensor | None) -> None:
    caches = [KVCache(each, 3, 40, padding) for each in (model, ready)]
    for start, end in ((0, 30), *((i, i + 1) for i in range(30, 40))):
        theirs, ours = (
            each.hidden(IDS[:, start:end], cache)[:, -1]
            for each, cache in zip((model, ready), caches, strict=True)
        )
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


def random_layer(seed: int, vocab_size: int, tail: float, level: float) -> tuple[nn.Linear, Tensor]:
    """A linear layer some rows and columns of which are far larger than others, and an input for it."""
    torch.manual_seed(seed)
    linear = nn.Linear(24, vocab_size)
    linear.weight.data *= torch.randn(vocab_size, 1).mul(tail).exp() * torch.randn(24).mul(tail).exp()
    linear.bias.data *= torch.randn(vocab_size).mul(tail).exp()
    return linear, torch.randn(1, 24) * torch.randn(24).mul(tail).exp() * level


LAYERS = given(
    seed=st.integers(0, 2**32),
    vocab_size=st.integers(1, 3000),
    tail=st.floats(0, 3),
    level=st.sampled_from([0.0, 1e-20, 1.0, 1e4]),
)


@LAYERS
@settings(max_examples=100, deadline=None)
@torch.inference_mode()
def test_every_logit_lies_within_its_bounds(seed: int, vocab_size: int, tail: float, level: float) -> None:
    linear, x = random_layer(seed, vocab_size, tail, level)
    exact = x.double() @ linear.weight.double().T + linear.bias.double()
    least, most = OutputLayer(linear).bounds(x)
    assert (least <= exact[0]).all()
    assert (exact[0] <= most).all()


@torch.inference_mode()
def test_the_bounds_hold_where_all_rounding_adds_up() -> None:
    """x differs from its rounded self in the direction of a row of W, and a row of W in that of x."""
    x = torch.full((1, 24), 0.49)
    x[0, 0] = 127.0
    linear = nn.Linear(24, 2)
    linear.weight[0], linear.weight[1] = x[0], torch.ones(24)
    linear.bias.zero_()
    layer = OutputLayer(linear)
    least, most = layer.bounds(x)
    exact = (x.double() @ linear.weight.double().T)[0]
    assert (exact - layer.int8(x)[0]).tolist() == pytest.approx([23 * 0.49**2, 23 * 0.49])
    assert (least <= exact).all()
    assert (exact <= most).all()
    assert (most - least < 2 * exact).all()


@LAYERS
@settings(max_examples=100, deadline=None)
@torch.inference_mode()
def test_the_largest_logits_are_those_of_all(seed: int, vocab_size: int, tail: float, level: float) -> None:
    linear, x = random_layer(seed, vocab_size, tail, level)
    k = seed % min(60, vocab_size) + 1
    values, ids = OutputLayer(linear).largest(x, k)
    exact = x.double() @ linear.weight.double().T + linear.bias.double()
    # Rounding grows with what is added up.
    size = x.abs().double() @ linear.weight.abs().double().T + linear.bias.abs().double()
    assert len(set(ids[0].tolist())) == k
    assert ((values - exact.gather(1, ids)).abs() <= 1e-5 * size.gather(1, ids) + 1e-30).all()
    others = exact.clone().scatter_(1, ids, -torch.inf)
    if k < vocab_size:
        passed_over = others.argmax()
        assert others[0, passed_over] <= values[0, -1] + 1e-5 * (size[0, passed_over] + size[0, ids[0, -1]])


def test_what_is_ready_stays_ready_and_cannot_be_saved(ready: GPT2, tmp_path: Path) -> None:
    layer = ready.output_layer
    assert for_inference(ready).output_layer is layer
    with pytest.raises(RuntimeError, match="cannot be saved"):
        ready.save_pretrained(tmp_path)


@torch.inference_mode()
def test_a_processor_that_cannot_add_up_int8_products_gets_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (int8, cpu):
        monkeypatch.setattr(module, "has_int8_products", lambda: False)
    monkeypatch.setattr(torch, "_int_mm", None)
    linear = nn.Linear(1536, 2000)
    linear.weight[:] = torch.rand(2000, 1) + torch.rand(1536) * 0.01
    x = torch.full((1, 1536), 3.0)
    exact = linear(x)
    torch.testing.assert_close(Int8Linear(linear)(x), exact, rtol=0.01, atol=1)
    largest = OutputLayer(linear).largest(x, 5)[1]
    assert torch.equal(largest.sort().values, exact.topk(5)[1].sort().values)
    small = tiny_model()
    quantize(small)
    before = small(IDS)
    torch.testing.assert_close(for_inference(small)(IDS), before, atol=1e-4, rtol=1e-4)
    assert not small.is_int8


def multiply_the_largest() -> None:
    if torch.cpu.get_capabilities()["architecture"] == "x86_64":
        assert not int8.has_int8_products()
    linear = nn.Linear(1536, 8)
    linear.weight.data = torch.ones(8, 1536)
    x = torch.full((1, 1536), 3.0)
    torch.testing.assert_close(Int8Linear(linear)(x), linear(x))


def test_products_are_exact_even_if_onednn_is_kept_from_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    done = Forked(multiply_the_largest).finish()
    assert done.returncode == 0, done.stderr


def test_what_is_not_float32_on_a_cpu_stays_as_it_is() -> None:
    small = tiny_model()
    quantize(small)
    for model in (small, tiny_model().double()):
        before = model.output_layer
        assert for_inference(model) is model
        assert model.output_layer is before
