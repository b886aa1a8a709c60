"""An output layer with a bias as one without: no built-in GPT-2 of other programs has one.

The last steps of the model are, for a hidden state x of C channels, with n = (x - mean(x)) / std(x):

    y = g * n + b           the last LayerNorm
    logits = W y + c        the output layer

The channels of n sum to zero. So a number that is added to a whole row of W diag(g) changes nothing:
(W diag(g) + u 1^T) n = W diag(g) n for any vector u, one number for each row. With other weights of the last
LayerNorm, g' = 1 and b' = beta in every channel, and W' = W diag(g) + u 1^T,

    W' (n + beta 1) = W (g * n) + u * sum(n) + beta W g + beta C u = W (g * n) + beta W g + beta C u

which is W (g * n) + W b + c, the logits, for u = (W b + c - beta W g) / (beta C). With beta = 1 the rows get
hardly wider, so that rounding them to 8 bits costs hardly more than before.
"""

from typing import TYPE_CHECKING

import numpy as np

from common.transformers_layout import to_theirs

if TYPE_CHECKING:
    from model import GPT2

BETA = 1.0


def fold_output_bias(
    W: np.ndarray, c: np.ndarray, g: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W (V, C), c (V,), g and b (C,) float32 -> W', g', b' float32; computed in float64.

    What was folded once stays as it is, bit for bit: then g = b = 1, c = 0, and so u = 0.
    """
    W, c, g, b = (each.astype(np.float64) for each in (W, c, g, b))
    u = (W @ b + c - BETA * (W @ g)) / (BETA * len(g))
    folded = W * g + u[:, None]
    return folded.astype(np.float32), np.ones_like(g, np.float32), np.full_like(b, BETA, np.float32)


def folded(model: "GPT2") -> dict[str, np.ndarray]:
    """A model's weights, float32, by the names of transformers and without a bias behind the output layer."""
    weights = {name: weight.numpy() for name, weight in model.state_dict().items()}
    changed = ("output_layer.weight", "layer_norm.weight", "layer_norm.bias")
    W, g, b = (weights[name] for name in changed)
    weights |= dict(zip(changed, fold_output_bias(W, weights["output_layer.bias"], g, b), strict=True))
    return to_theirs(weights, model.config)
