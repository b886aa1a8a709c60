"""The loop that tells many stories at once: prompts into the KV cache, then a token at a time for each.

    for step in stream_tokens(model, prompts, seeds, Sampling(), choose_token, eos_id): ...

The loop finds the likeliest tokens; which of them is next is for a function like `generate.choose_token` to
say, which is handed in. All that a loop knows is its own: several may run on one model at the same time, and
one that is closed or fails leaves nothing behind.
"""

from collections.abc import Callable, Generator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from inference.sampling import Sampling, uniform
from model import GPT2, KVCache

# Logits and ids of the likeliest tokens, a random number a row -> the next tokens: `generate.choose_token`.
TokenChoice = Callable[[Tensor, Tensor, Tensor, Sampling], Tensor]


@torch.inference_mode()
def stream_tokens(
    model: GPT2,
    prompts: Sequence[Tensor],
    seeds: Sequence[int],
    sampling: Sampling,
    choose: TokenChoice,
    eos_id: int,
    others: Sequence[Sequence[Tensor]] = (),
) -> Generator[Tensor, None, None]:
    """B prompts, each (T,) int64 -> yields the next ids (B,) int64, step by step, until every row
    has ended or has `max_new_tokens`.

    A row that has ended yields `eos_id` from then on, and costs nothing. Row i draws from `seeds[i]` alone:
    but for rounding, it is the same whatever else is in the batch. Past the context length the oldest tokens
    are forgotten, and each step costs a whole forward pass.

    With `others`, for each story the same number of prompts that ask for the other endings, every token is
    drawn from the guided logits
        other + S (asked - other)
    where `other` is the mean over these (Sanchez et al. 2023, "Stay on topic with Classifier-Free Guidance":
    a negative prompt). All are rows of one batch. The output layer is affine, so it is enough to mix what
    enters it.
    """
    context = model.config.context_length
    per_story = 1 + len(others[0]) if others else 1
    rows = [*prompts]
    if others:
        rows = [row for asked, rest in zip(prompts, others, strict=True) for row in (asked, *rest)]  # R
    longest = max(map(len, rows))
    padding = torch.tensor([longest - len(row) for row in rows], device=model.device)  # (R,)
    room = torch.full((len(rows), sampling.max_new_tokens), eos_id, device=model.device)
    ids = pad_sequence(rows, batch_first=True, padding_side="left").to(model.device)
    ids = torch.cat([ids, room], 1).view(len(prompts), per_story, -1)  # (stories, endings, all tokens)
    going = list(range(len(prompts)))  # the stories that go on, as they lie in `ids`
    cache = KVCache(model, len(rows), min(ids.shape[2], context), padding)
    for length in range(longest, ids.shape[2]):
        if length > context:  # every position has moved: nothing cached holds
            cache = KVCache(model, len(padding), context, (padding - (length - context)).clamp(min=0))
        unread = ids.flatten(0, 1)[:, max(0, length - context) + cache.length : length]  # (R, T)
        hidden = model.hidden(unread, cache)[:, -1]  # (R, C)
        if others:
            by_ending = hidden.view(len(going), per_story, -1)
            hidden = guided(by_ending, sampling.ending_strength)  # (stories, C)
        drawn = [uniform(seeds[story], length - longest) for story in going]
        by = torch.tensor(drawn, device=model.device)  # (stories,)
        chosen = choose(*likeliest(model, hidden, sampling), by, sampling)
        ids[:, :, length] = chosen[:, None]
        step = torch.full((len(prompts),), eos_id, device=model.device)
        step[going] = chosen
        yield step
        ended = [token == eos_id for token in chosen.tolist()]
        if all(ended):
            return
        if any(ended):
            places = _close_gaps(ended)
            going, ids = [going[place] for place in places], ids[places]
            kept = [place * per_story + i for place in places for i in range(per_story)]
            padding = padding[kept]
            cache.keep(kept)


def guided(hidden: Tensor, strength: float) -> Tensor:
    """(..., endings, C), the asked one first -> (..., C), away from the mean of the others."""
    return torch.lerp(hidden[..., 1:, :].mean(-2), hidden[..., 0, :], strength)


def _close_gaps(ended: Sequence[bool]) -> list[int]:
    """The places of those that go on; the last ones move into the gaps, so that few move."""
    places = list(range(len(ended)))
    for gap in reversed(range(len(ended))):
        if ended[gap]:
            places[gap] = places[-1]
            places.pop()
    return places


def likeliest(model: GPT2, hidden: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """The logits to choose from behind `hidden` (B, C), descending, and their tokens, both (B, K)."""
    V = model.config.vocab_size
    k = 1 if sampling.temperature == 0 else min(sampling.top_k or V, V)
    values, ids = model.output_layer(hidden).topk(k)
    return values, ids
