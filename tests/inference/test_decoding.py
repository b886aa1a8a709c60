import pytest
import scipy.stats
import torch
from torch import Tensor

from common.int8 import quantize
from generate import choose_token
from inference.decoding import stream_tokens
from inference.sampling import Sampling
from model import GPT2
from tiny import CONTEXT, EOS, engine_of, tiny_model


@torch.no_grad()
def uncached_greedy(model: GPT2, ids: Tensor, count: int) -> Tensor:
    """The plain loop, (B, T) -> (B, count): the whole window again for every token, no end."""
    start = ids.shape[1]
    for _ in range(count):
        ids = torch.cat([ids, model(ids[:, -CONTEXT:])[:, -1].argmax(-1, keepdim=True)], 1)
    return ids[:, start:]


def prompts(rows: int, length: int) -> Tensor:
    return torch.randint(0, 500, (rows, length), generator=torch.Generator().manual_seed(3))


def collect(model: GPT2, ids: Tensor, sampling: Sampling, seeds: range, eos_id: int = EOS) -> Tensor:
    return torch.stack(list(stream_tokens(model, list(ids), seeds, sampling, choose_token, eos_id)), 1)


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize(
    ("length", "count"),
    [(5, 60), (CONTEXT - 20, 20), (CONTEXT - 20, 21), (CONTEXT - 20, 40), (CONTEXT + 5, 20)],
)
def test_cached_greedy_equals_the_uncached_loop_up_to_and_past_the_context(
    model: GPT2, rows: int, length: int, count: int
) -> None:
    ids = prompts(rows, length)
    told = collect(model, ids, Sampling(count, temperature=0), range(rows), eos_id=-1)
    assert torch.equal(told, uncached_greedy(model, ids, count))


def test_a_row_that_ended_stays_ended_and_the_others_go_on() -> None:
    model = tiny_model(seed=4)
    ids = prompts(4, 6)
    plain = uncached_greedy(model, ids, 40)
    eos = int(plain[0, 7])
    told = collect(model, ids, Sampling(40, temperature=0), range(4), eos_id=eos)
    for row, whole in zip(told.tolist(), plain.tolist(), strict=True):
        end = whole.index(eos) + 1 if eos in whole else 40
        assert row[:end] == whole[: min(end, len(row))]
        assert set(row[end:]) <= {eos}
    assert (told[:, -1] == eos).all() or told.shape[1] == 40


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(1, 1.0, None),
        Sampling(1, 0.6, None),
        Sampling(1, 1.7, None),
        Sampling(1, 1.0, 5),
        Sampling(1, 1.0, None, 0.7),
        Sampling(1, 1.3, 7, 0.8),
        Sampling(1, 0.9, 8, 0.9, ending_strength=1.8),
    ],
)
@pytest.mark.parametrize("kind", ["pytorch", "pytorch int8", "engine", "engine int8"])
def test_a_chi_square_test_finds_no_other_distribution_in_what_is_drawn(
    kind: str, sampling: Sampling
) -> None:
    model = tiny_model(vocab_size=12, embedding_dim=16, num_layers=1)
    model.output_layer.weight.data *= 0.3  # so that every token has a chance
    if "int8" in kind:
        quantize(model)
    asked, other = torch.tensor([3, 1, 4, 1, 5]), torch.tensor([9, 2, 6])
    with torch.no_grad():
        states = [model.hidden(ids[None])[:, -1] for ids in (asked, other)]
        logits = model.output_layer(torch.lerp(states[1], states[0], sampling.ending_strength))[0].double()
    draws = 4000
    others = [[other]] * draws if sampling.ending_strength != 1 else []
    if "engine" in kind:
        rows = [[other.tolist()]] * draws if others else []
        steps = engine_of(model).stream_tokens([asked.tolist()] * draws, range(draws), sampling, -1, rows)
        drawn = torch.tensor(next(steps))
    else:
        drawn = next(stream_tokens(model, [asked] * draws, range(draws), sampling, choose_token, -1, others))
    order = logits.argsort(descending=True)[: sampling.top_k]
    likely = torch.softmax(logits[order] / sampling.temperature, -1)
    kept = int((likely.cumsum(-1) - likely < sampling.top_p).sum())
    order, likely = order[:kept], likely[:kept] / likely[:kept].sum()
    counts = torch.bincount(drawn, minlength=12)
    assert counts[order].sum() == draws
    assert len(order) > 2
    assert scipy.stats.chisquare(counts[order].numpy(), (likely * draws).numpy()).pvalue > 0.001


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_p": 1.1},
        {"ending_strength": -0.1},
        {"ending_strength": float("nan")},
        {"ending_strength": float("inf")},
    ],
)
def test_sampling_out_of_range_is_an_error(bad: dict) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Sampling(**bad)


@torch.no_grad()
def guided_greedy(model: GPT2, asked: Tensor, others: list[Tensor], strength: float, count: int) -> list[int]:
    """The formula as it is written, each prompt on its own, the whole text again for every token."""
    texts = [asked, *others]
    for _ in range(count):
        positive, *rest = (model(ids[None, -CONTEXT:])[0, -1] for ids in texts)
        negative = torch.stack(rest).mean(0)
        chosen = (negative + strength * (positive - negative)).argmax()[None]
        texts = [torch.cat([ids, chosen]) for ids in texts]
    return texts[0][-count:].tolist()


@pytest.mark.parametrize("endings", [2, 3, 8])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 1.5, 3.0])
def test_guidance_is_its_formula(model: GPT2, strength: float, endings: int) -> None:
    """Away from the mean of the others, whose prompts have different lengths."""
    stories = [[*prompts(endings, 20)], [*prompts(endings, 27)]]
    stories = [[row[i:] for i, row in enumerate(rows)] for rows in stories]
    asked, others = [rows[0] for rows in stories], [rows[1:] for rows in stories]
    sampling = Sampling(30, temperature=0, ending_strength=strength)
    told = torch.stack(list(stream_tokens(model, asked, [0, 1], sampling, choose_token, -1, others)), 1)
    for i in range(2):
        assert told[i].tolist() == guided_greedy(model, asked[i], others[i], strength, 30)
