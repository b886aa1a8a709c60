import pytest
import torch

from model import Dropout


def test_dropout_keeps_the_mean_and_its_rate_and_passes_gradients_of_what_it_kept() -> None:
    torch.manual_seed(0)
    dropout = Dropout(0.1)
    x = torch.full((1001, 303), 2.0, requires_grad=True)
    y = dropout(x)
    kept = y != 0
    assert kept.float().mean() == pytest.approx(0.9, abs=0.002)
    torch.testing.assert_close(y[kept].unique(), torch.tensor([2.0 / 0.9]))
    for places in (kept[::2], kept[:, ::4], kept[:, -3:]):  # anywhere alike
        assert places.float().mean() == pytest.approx(0.9, abs=0.01)
    y.sum().backward()
    torch.testing.assert_close(x.grad, kept / torch.tensor(0.9))
    assert not torch.equal(dropout(x), y)
    torch.manual_seed(0)
    assert torch.equal(dropout(x), y)
    assert torch.equal(dropout.eval()(x), x)
