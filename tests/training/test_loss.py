from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from training import loss
from training.loss import compute_loss, summed_loss


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "CHUNK", {"cpu": 8})


def positions(
    count: int, width: int = 6, vocab: int = 37, scale: float = 1.0
) -> tuple[Tensor, nn.Linear, Tensor]:
    torch.manual_seed(count)
    hidden = (torch.randn(count, width) * scale).requires_grad_()
    return hidden, nn.Linear(width, vocab), torch.randint(0, vocab, (count,))


def gradients(total: Tensor, hidden: Tensor, layer: nn.Linear) -> list[Tensor]:
    return list(torch.autograd.grad(total, [hidden, layer.weight, layer.bias]))


def test_loss_is_the_mean_over_supervised_tokens() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 5), torch.tensor([[1, 2, -100], [4, -100, -100]])
    log_p = torch.log_softmax(logits, -1)
    expected = -(log_p[0, 0, 1] + log_p[0, 1, 2] + log_p[1, 0, 4]) / 3
    torch.testing.assert_close(compute_loss(logits, labels), expected)
    other = labels.masked_fill(labels == -100, -1)
    torch.testing.assert_close(compute_loss(logits, other, ignore_index=-1), expected)


def test_loss_without_supervised_tokens_is_zero() -> None:
    assert compute_loss(torch.randn(1, 2, 5), torch.full((1, 2), -100)) == 0
    hidden, layer, labels = positions(0)
    total = summed_loss(hidden, layer, labels)
    assert total == 0
    assert all(not gradient.any() for gradient in gradients(total, hidden, layer))


@pytest.mark.parametrize("count", [1, 7, 8, 9, 30])
def test_loss_and_gradients_in_chunks_are_those_of_the_plain_way(count: int) -> None:
    hidden, layer, labels = positions(count)
    plain = compute_loss(layer(hidden)[None], labels[None]) * count
    chunked = summed_loss(hidden, layer, labels)
    torch.testing.assert_close(chunked, plain)
    pairs = zip(gradients(chunked * 3, hidden, layer), gradients(plain * 3, hidden, layer), strict=True)
    for ours, expected in pairs:
        torch.testing.assert_close(ours, expected)
    with torch.no_grad():
        torch.testing.assert_close(summed_loss(hidden, layer, labels), plain)


def test_tokens_without_a_chance_have_a_finite_loss() -> None:
    hidden, layer, labels = positions(9, scale=1000)
    torch.testing.assert_close(
        summed_loss(hidden, layer, labels), compute_loss(layer(hidden)[None], labels[None]) * 9
    )


def test_a_gradient_that_is_almost_0_is_not_rounded_to_0() -> None:
    """Where the label is almost certain: in bfloat16, p is 1."""
    hidden, layer, labels = positions(1)
    with torch.no_grad():
        layer.bias[labels] += 11.0
    plain = compute_loss(layer(hidden)[None], labels[None])
    with torch.autocast("cpu", torch.bfloat16):
        total = summed_loss(hidden, layer, labels)
    ours, expected = (gradients(loss, hidden, layer)[2][labels] for loss in (total, plain))
    assert -1e-3 < expected < 0
    torch.testing.assert_close(ours, expected, rtol=0.1, atol=0)


def test_under_autocast_products_are_in_its_dtype_and_sums_are_not() -> None:
    hidden, layer, labels = positions(40, width=64, vocab=500)
    plain = compute_loss(layer(hidden)[None], labels[None]) * 40
    with torch.autocast("cpu", torch.bfloat16):
        total = summed_loss(hidden, layer, labels)
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, plain, rtol=1e-3, atol=0)
    assert total != plain
    pairs = zip(gradients(total, hidden, layer), gradients(plain, hidden, layer), strict=True)
    for ours, expected in pairs:
        assert ours.dtype == torch.float32
        assert (ours - expected).norm() < 0.02 * expected.norm()


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that is made."""

    size = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.size = max(self.size, result.numel())
        return result


def test_logits_are_never_held_whole() -> None:
    hidden, layer, labels = positions(400, vocab=200)
    with Largest() as largest:
        summed_loss(hidden, layer, labels).backward()
    assert largest.size == hidden.numel() < 400 * 200 / 8


def test_what_is_to_be_compiled_is_as_precise_in_16_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler, which a machine may lack: there, the logits are in 16 bits, too."""
    monkeypatch.setattr(loss, "_compiled", lambda: loss._loss_and_gradient)
    hidden, layer, labels = positions(40, width=64, vocab=500)
    plain = summed_loss(hidden, layer, labels)
    with torch.autocast("cpu", torch.bfloat16):
        total, other = (summed_loss(hidden, layer, labels, compiled) for compiled in (True, False))
    assert total.dtype == torch.float32
    assert total != other
    torch.testing.assert_close(total, plain, rtol=1e-3, atol=0)
    pairs = zip(gradients(total, hidden, layer), gradients(plain, hidden, layer), strict=True)
    for ours, expected in pairs:
        assert ours.dtype == torch.float32
        assert (ours - expected).norm() < 0.02 * expected.norm()


class Products(TorchDispatchMode):
    """Notes how far apart the rows, or the columns, of all matrices lie that are multiplied, or come out."""

    def __init__(self) -> None:
        super().__init__()
        self.row_lengths: list[int] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if function.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm):
            matrices = [
                x for x in (*args, *kwargs.values(), result) if isinstance(x, Tensor) and x.dim() == 2
            ]
            self.row_lengths += [max(x.stride()) for x in matrices]
        return result


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_matrix_has_rows_of_odd_length(
    dtype: torch.dtype, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As GPT-2's vocabulary of 50,257 would make them: matrix products are several times slower then."""
    monkeypatch.setattr(loss, "_compiled", lambda: loss._loss_and_gradient)
    hidden, layer, labels = positions(20, width=16, vocab=501)
    with Products() as products, torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        summed_loss(hidden, layer, labels, compiled).backward()
    assert len(products.row_lengths) >= 3 * 3 * 3  # chunks, products, matrices
    assert not [length for length in products.row_lengths if length % 2]
