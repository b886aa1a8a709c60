"""Models made ready for a CPU give what they gave before."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from inference import OutputLayer, PackedBlock, for_inference
from int8 import quantize
from model import GPT2, KVCache
from tests.conftest import tiny_model

IDS = torch.randint(0, 512, (3, 40), generator=torch.Generator().manual_seed(0))


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
def test_hidden_states_with_a_cache_are_the_same(
    model: GPT2, ready: GPT2, padding: torch.Tensor | None
) -> None:
    caches = [KVCache(each, 3, 40, padding) for each in (model, ready)]
    for start, end in ((0, 30), *((i, i + 1) for i in range(30, 40))):
        theirs, ours = (
            each.hidden(IDS[:, start:end], cache)[:, -1]
            for each, cache in zip((model, ready), caches, strict=True)
        )
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


@given(
    seed=st.integers(0, 2**32),
    vocab_size=st.integers(1, 3000),
    k=st.integers(1, 60),
    tail=st.floats(0, 3),
    level=st.sampled_from([0.0, 1e-20, 1.0, 1e4]),
)
@settings(max_examples=150, deadline=None)
@torch.inference_mode()
def test_the_largest_logits_are_those_of_all(
    seed: int, vocab_size: int, k: int, tail: float, level: float
) -> None:
    """Also where some rows, some columns and some inputs are far larger than others."""
    torch.manual_seed(seed)
    k = min(k, vocab_size)
    linear = nn.Linear(24, vocab_size)
    linear.weight *= torch.randn(vocab_size, 1).mul(tail).exp() * torch.randn(24).mul(tail).exp()
    layer = OutputLayer(linear)
    x = torch.randn(1, 24) * torch.randn(24).mul(tail).exp() * level
    values, ids = layer.largest(x, k)
    assert len(set(ids[0].tolist())) == k
    exact = x.double() @ linear.weight.double().T + linear.bias.double()
    size = (x.abs() @ linear.weight.abs().T + linear.bias.abs())[
        0
    ]  # what is added up: rounding grows with it
    error = (values - exact.gather(1, ids)).abs()[0] / size[ids[0]]
    assert error.max() < 1e-5
    expected = exact.topk(k).values[0]
    torch.testing.assert_close(values[0].double(), expected, rtol=1e-4, atol=float(size.max()) * 1e-5)


def test_what_is_not_float32_on_a_cpu_stays_as_it_is() -> None:
    small = tiny_model()
    quantize(small)
    for model in (small, tiny_model().double()):
        before = model.output_layer
        assert for_inference(model) is model
        assert model.output_layer is before
