"""A bias behind the output layer, folded away."""

import numpy as np
import pytest

from exporting.fold import fold_output_bias


def output(W: np.ndarray, c: np.ndarray, g: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Logits of some hidden states (N, C), in float64."""
    x = np.random.default_rng(1).normal(size=(50, len(g)))
    n = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    return (n * g + b) @ W.T.astype(np.float64) + c


def random_layer(V: int, C: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for shape in ((V, C), (V,), (C,), (C,))]


@pytest.mark.parametrize(("V", "C"), [(7, 2), (300, 96), (500, 768)])
def test_logits_stay_as_they_were(V: int, C: int) -> None:
    W, c, g, b = random_layer(V, C)
    W2, g2, b2 = fold_output_bias(W, c, g, b)
    np.testing.assert_allclose(output(W2, np.zeros(V), g2, b2), output(W, c, g, b), rtol=0, atol=2e-4)
    assert W2.dtype == g2.dtype == b2.dtype == np.float32
    assert np.abs(output(W, c * 0, g, b) - output(W, c, g, b)).max() > 1  # the bias said something


def test_what_was_folded_stays_as_it_is() -> None:
    W, c, g, b = random_layer(300, 96)
    once = fold_output_bias(W, c, g, b)
    again = fold_output_bias(once[0], c * 0, *once[1:])
    for one, other in zip(once, again, strict=True):
        assert one.tobytes() == other.tobytes()
