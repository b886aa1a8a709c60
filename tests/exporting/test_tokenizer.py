"""The exported tokenizer gives the ids that ours gives."""

import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st

from dataset import VOCAB_SIZE, get_tokenizer
from exporting.tokenizer import merges, tokenizer_json, tokens

SIZES = (257, 4096, VOCAB_SIZE)
OURS = {size: get_tokenizer(size) for size in SIZES}
THEIRS = {
    size: tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json(ours))) for size, ours in OURS.items()
}
for each in THEIRS.values():
    each.encode_special_tokens = True  # as split_special_tokens says


@given(st.text(max_size=60))
@example("Lily's dog didn't see 12 cats.\n\n  It   ran! ")
@example("a<|endoftext|>b")
@example("\U0001f98a \u05db\u05dc\u05d1 e\u0301 \x85\x1c\u3000\u200b \ufeff \x00")
def test_any_text_has_the_same_ids_and_comes_back(text: str) -> None:
    for size in SIZES:
        ids = OURS[size].encode_ordinary(text)
        assert THEIRS[size].encode(text).ids == ids
        assert THEIRS[size].decode(ids) == text


@pytest.mark.parametrize("size", SIZES)
def test_every_token_is_there_and_the_last_ends_the_text(size: int) -> None:
    words = tokens(OURS[size])
    assert len({*words}) == len(words) == size
    assert THEIRS[size].token_to_id("<|endoftext|>") == size - 1 == OURS[size].eot_token
    assert len(merges(OURS[size])) == size - 257


def test_what_transformers_makes_of_it_does_not_end_a_text_that_says_so(
    exported: Path,
) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(exported)
    ours = get_tokenizer(theirs.vocab_size)
    for text in ("a<|endoftext|>b", "Tom's  dog\n", "\U0001f98a"):
        assert theirs(text)["input_ids"] == ours.encode_ordinary(text)
    assert (theirs.eos_token_id, theirs.pad_token_id) == (ours.eot_token, ours.eot_token)
