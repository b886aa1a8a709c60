"""int8 layers against what they stand for, and their files."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from common.errors import CheckpointError
from common.int8 import LARGEST_INPUT, Int8Embedding, Int8Linear, quantize, round_input, to_int8
from common.presets import PRESETS
from model import GPT2, load_model
from tiny import IDS, TINY, tiny_model


@pytest.fixture(scope="module")
def small() -> GPT2:
    model = tiny_model()
    quantize(model)
    return model


@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3), min_size=1, max_size=4))
def test_rounding_is_to_the_nearest_of_255_steps_of_a_row(rows: list[list[float]]) -> None:
    x = torch.tensor(rows)
    whole, scale = to_int8(x)
    assert whole.dtype == torch.int8
    assert whole.abs().max() <= 127
    assert ((whole * scale - x).abs() <= scale * 0.5001).all()
    largest = x.abs().amax(-1)
    assert (whole.abs().amax(-1)[largest > 1e-20] == 127).all()


@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3), min_size=1, max_size=4))
def test_an_input_is_rounded_to_the_nearest_of_4095_steps_of_its_row(rows: list[list[float]]) -> None:
    x = torch.tensor(rows)
    step = x.abs().amax(-1, keepdim=True) / LARGEST_INPUT
    assert ((round_input(x) - x).abs() <= 0.501 * step + 1e-30).all()
    for place, row in enumerate(x):
        assert torch.equal(round_input(row), round_input(x)[place])


def rounded(x: Tensor) -> Tensor:
    whole, scale = to_int8(x)
    return whole.double() * scale.double()


@pytest.mark.parametrize("rows", [1, 2, 16, 33])
@pytest.mark.parametrize(("wide", "high"), [(2, 5), (24, 7), (96, 512), (1536, 384)])
def test_a_product_is_that_of_what_its_whole_numbers_stand_for(rows: int, wide: int, high: int) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(wide, high)
    linear.weight.data *= torch.randn(high, 1).exp()
    x = torch.randn(rows, 2, wide) * torch.randn(rows, 1, 1).exp()
    x[0, 0] = 0
    inputs, weights = round_input(x).double(), rounded(linear.weight.detach())
    exact = inputs @ weights.T + linear.bias.detach()
    difference = (Int8Linear(linear)(x).double() - exact).abs()
    assert (difference <= 1e-6 * (inputs.abs() @ weights.abs().T + 1)).all()  # of the summands


def test_the_largest_numbers_do_not_saturate() -> None:
    linear = nn.Linear(1536, 8)
    linear.weight.data = torch.ones(8, 1536)
    for sign in (1, -1):
        sums = Int8Linear(linear)(torch.full((1, 1536), 3.0 * sign)) - linear.bias
        torch.testing.assert_close(sums, torch.full((1, 8), 1536 * 3.0 * sign))


def test_an_embedding_is_what_its_whole_numbers_stand_for() -> None:
    embedding = nn.Embedding(50, 24)
    exact = rounded(embedding.weight.detach())[IDS[:, :3] % 50]
    torch.testing.assert_close(Int8Embedding(embedding)(IDS[:, :3] % 50).double(), exact)


def test_a_model_is_its_own_dequantised_oracle(small: GPT2) -> None:
    """The oracle: plain layers in float64 with the weights that the int8 ones stand for, and inputs rounded
    likewise. Both run in float64, so that no input is rounded differently."""
    oracle = tiny_model().double()
    for module in oracle.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            module.weight.data = rounded(module.weight.data.float())
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(lambda _, inputs: (round_input(inputs[0]),))
    model = tiny_model()
    quantize(model)
    torch.testing.assert_close(model.double()(IDS), oracle(IDS), atol=1e-9, rtol=1e-9)


@torch.no_grad()
def test_every_matrix_is_int8_and_little_is_lost(model: GPT2, small: GPT2) -> None:
    state = small.state_dict()
    assert {name for name, weight in state.items() if weight.dim() == 2} == {
        name for name, weight in state.items() if weight.dtype == torch.int8
    }
    ours, theirs = torch.log_softmax(small(IDS), -1), torch.log_softmax(model(IDS), -1)
    loss = -theirs.gather(-1, IDS[..., None]).mean()
    assert -ours.gather(-1, IDS[..., None]).mean() == pytest.approx(float(loss), rel=0.02)


@pytest.mark.parametrize("form", ["folder", "from_pretrained", "pt"])
def test_saving_and_loading_changes_no_bit(small: GPT2, form: str, tmp_path: Path) -> None:
    small.save_pretrained(tmp_path)
    assert set(json.loads((tmp_path / "config.json").read_text())) == set(TINY)
    if form == "pt":
        torch.save({"model_state_dict": small.state_dict()}, tmp_path / "small.pt")
    loaded = {
        "folder": lambda: load_model(tmp_path),
        "from_pretrained": lambda: GPT2.from_pretrained(tmp_path),
        "pt": lambda: load_model(tmp_path / "small.pt"),
    }[form]()
    assert loaded.is_int8
    assert loaded.state_dict().keys() == small.state_dict().keys()
    for name, weight in small.state_dict().items():
        assert weight.dtype == loaded.state_dict()[name].dtype
        assert torch.equal(weight, loaded.state_dict()[name]), name
    assert torch.equal(loaded(IDS), small(IDS))


@pytest.mark.parametrize("size", PRESETS)
def test_the_file_is_at_most_27_percent_of_the_float32_one(size: str, tmp_path: Path) -> None:
    config = vars(PRESETS[size].config) | ({"num_layers": 3} if size == "125m" else {})
    model = GPT2(**config)
    sizes = []
    for _ in range(2):
        model.save_pretrained(tmp_path)
        sizes.append((tmp_path / "model.safetensors").stat().st_size)
        quantize(model)
    assert sizes[1] <= 0.27 * sizes[0]


def test_a_file_that_is_not_all_int8_is_refused_by_name(small: GPT2, tmp_path: Path) -> None:
    small.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    whole = load_file(file)
    name = "blocks.0.mha.heads.1.k.scale"
    save_file({key: weight for key, weight in whole.items() if key != name}, file)
    with pytest.raises(CheckpointError, match=rf"missing weights: {name}"):
        load_model(file)
    save_file(whole | {"output_layer.weight": torch.zeros(512, 32)}, file)
    with pytest.raises(CheckpointError, match=r"other kinds of numbers: output_layer.weight torch.float32"):
        load_model(file)
    save_file(whole | {"output_layer.weight": torch.full((512, 32), 300)}, file)
    with pytest.raises(CheckpointError, match=r"other kinds of numbers: output_layer.weight torch.int64"):
        load_model(file)
    save_file(whole | {name: torch.full_like(whole[name], torch.nan)}, file)
    with pytest.raises(CheckpointError, match=r"not a number, or infinite: blocks.0"):
        load_model(file)
