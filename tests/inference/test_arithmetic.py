"""The engine's whole-number sums are PyTorch's, its logits as near to exact ones as rounding lets them be."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import model as model_file
from common.int8 import LARGEST, LARGEST_INPUT, Int8Linear, quantize
from common.presets import PRESETS, ModelConfig
from inference.engine import Engine, Text
from model import GPT2, attend
from tiny import a_draw, engine_of, logits_behind, some_ids, tiny_model

ROUNDING = 2.0**-24  # of a float32 that is 1


@settings(max_examples=30)
@given(st.integers(1, 2048), st.integers(1, 5), st.sampled_from(["any", "largest", "most negative"]))
def test_sums_of_whole_numbers_are_pytorchs(cols: int, rows: int, kind: str) -> None:
    """A model without blocks, whose norm gives out its bias: whole numbers, that are rounded by 1."""
    vocab = 300
    rng = np.random.default_rng(cols)
    weight = rng.integers(-LARGEST, LARGEST, (vocab, cols), np.int8, endpoint=True)
    inputs = rng.integers(-LARGEST_INPUT, LARGEST_INPUT, cols, np.int32, endpoint=True)
    if kind != "any":
        weight[:], inputs[:] = LARGEST, LARGEST_INPUT if kind == "largest" else -LARGEST_INPUT
    inputs[-1] = LARGEST_INPUT
    zeros = {"embeddings.token_embedding": (vocab, cols), "embeddings.pos_embedding": (1, cols)}
    weights: dict[str, np.ndarray] = {
        f"{name}.weight": np.zeros(shape, np.float32) for name, shape in zeros.items()
    }
    weights |= {"layer_norm.weight": np.zeros(cols, np.float32), "layer_norm.bias": inputs.astype(np.float32)}
    weights |= {"output_layer.weight": weight, "output_layer.scale": np.ones(vocab, np.float32)}
    weights |= {"output_layer.bias": np.zeros(vocab, np.float32)}
    engine = Engine(weights, ModelConfig(0.0, vocab, 1, cols, 0, 1))
    draws = [a_draw() for _ in range(rows)]
    logits = engine.step([(Text(engine, [0], 1), 0, 0) for _ in range(rows)], draws)
    sums = torch.from_numpy(weight.astype(np.int32)) @ torch.from_numpy(inputs)
    assert np.array_equal(logits, np.tile(sums.float().numpy(), (rows, 1)))


def off(size: Tensor) -> Tensor:
    """By as much, up or down."""
    return (torch.randint(0, 2, size.shape) * 2 - 1) * size


def rounded_badly(model: GPT2, patch: pytest.MonkeyPatch) -> GPT2:
    """In float64, with each result as far off as the order of float32 operations in engine.c lets it be.

    A sum of n products rounds each of them at most n / 16 + 6 times (16 sums side by side, which are added
    up): source: Higham 2002, "Accuracy and Stability of Numerical Algorithms", 3.1. In int8 a sum is exact,
    but an input of the next product may be rounded to the next of the 4,095 steps.
    """
    exact = deepcopy(model).double()

    def product(layer: Any, inputs: tuple[Tensor], y: Tensor) -> Tensor:
        summands, rounds = y.abs() + layer.bias.abs(), 4.0
        if not isinstance(layer, Int8Linear):
            rounds = inputs[0].shape[-1] / 16 + 6
            summands = inputs[0].abs() @ layer.weight.abs().T + layer.bias.abs()
        return y + off(rounds * ROUNDING * summands)

    def norm(layer: nn.LayerNorm, _: tuple[Tensor], y: Tensor) -> Tensor:
        return y + off((y.shape[-1] / 16 + 10) * ROUNDING * (y.abs() + 2 * layer.bias.abs()))

    def gelu(_: nn.Module, inputs: tuple[Tensor], y: Tensor) -> Tensor:
        return y + off(ROUNDING * (inputs[0].abs() + 4 * y.abs()))

    def attention(q: Tensor, k: Tensor, v: Tensor, *others: Any) -> Tensor:
        D, S = q.shape[-1], k.shape[2]
        score = q.norm(dim=-1).amax() * k.norm(dim=-1).amax() * D**-0.5
        rounds = (D / 16 + 6) * score + S + 4
        return attend(q, k, v, *others) + off(rounds * ROUNDING * attend(q, k, v.abs(), *others))

    for module in exact.modules():
        if isinstance(module, nn.Linear | Int8Linear):
            module.register_forward_hook(product)
        elif isinstance(module, nn.LayerNorm):
            module.register_forward_hook(norm)
        elif isinstance(module, nn.GELU):
            module.register_forward_hook(gelu)
    patch.setattr(model_file, "attend", attention)
    return exact


@torch.no_grad()
def check_logits(model: GPT2, lengths: Sequence[int]) -> None:
    engine, exact = engine_of(model), deepcopy(model).double()
    for length in lengths:
        ids = some_ids(length, length, model.config.vocab_size)
        expected = exact(torch.tensor([ids]))[0, -1]
        with pytest.MonkeyPatch.context() as patch:
            bad = rounded_badly(model, patch)
            bound = 2 * max((bad(torch.tensor([ids]))[0, -1] - expected).abs().max() for _ in range(2))
        assert bound < (1e-2 if model.is_int8 else 2e-3) * expected.abs().max()  # it says something
        assert (torch.from_numpy(logits_behind(engine, ids)) - expected).abs().max() <= bound


SHAPES = {
    "tiny": {},
    "odd": dict(embedding_dim=40, num_heads=4, vocab_size=300),  # neither rows nor heads fill vectors
    "nano": vars(PRESETS["nano"].config),
    "30m": vars(PRESETS["30m"].config),
    "125m": vars(PRESETS["125m"].config),
}


@pytest.mark.parametrize("is_int8", [False, True], ids=["float32", "int8"])
@pytest.mark.parametrize(
    "shape", [pytest.param(name, marks=pytest.mark.slow if name == "125m" else ()) for name in SHAPES]
)
def test_logits_are_exact_but_for_rounding(shape: str, is_int8: bool) -> None:
    torch.manual_seed(0)
    model = tiny_model(**SHAPES[shape]) if "m" not in shape else GPT2(**SHAPES[shape]).eval()
    if is_int8:
        quantize(model)
    check_logits(model, (7, 65) if "m" in shape else (1, 2, 63, 64, 65, 200))


@settings(max_examples=25)
@given(
    *(st.integers(1, 5), st.integers(1, 24), st.integers(1, 3), st.integers(257, 400), st.integers(2, 40)),
    st.booleans(),
)
def test_any_shape(heads: int, head: int, layers: int, vocab: int, context: int, is_int8: bool) -> None:
    shape = dict(embedding_dim=heads * head, num_heads=heads, num_layers=layers)
    model = tiny_model(**shape, vocab_size=vocab, context_length=context)
    ids = some_ids(context, below=vocab)
    with torch.no_grad():
        expected = model(torch.tensor([ids]))[0, -1].numpy()
    if is_int8:
        quantize(model)
    bound = (0.2 if is_int8 else 1e-5) * (1 + np.abs(expected).max())
    assert np.abs(logits_behind(engine_of(model), ids) - expected).max() < bound
