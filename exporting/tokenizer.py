"""The tokenizer as other programs take it: tokens and merges, from the ranks of tiktoken.

They write a byte as a sign that can be read: itself if it is one, else the next of those from U+0100 on.
Source: the encoder released with GPT-2 (Radford et al. 2019).
"""

import functools
import itertools

import tiktoken

END = "<|endoftext|>"


@functools.cache
def signs() -> list[str]:
    """A sign for each byte."""
    readable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)}
    others = itertools.count(256)
    return [chr(byte) if byte in readable else chr(next(others)) for byte in range(256)]


def written(token: bytes) -> str:
    return "".join(signs()[byte] for byte in token)


def tokens(tokenizer: tiktoken.Encoding) -> list[str]:
    """By their ids; the last is the end of text."""
    ordinary = [tokenizer.decode_single_token_bytes(rank) for rank in range(tokenizer.n_vocab - 1)]
    return [*map(written, ordinary), END]


@functools.cache
def merges(tokenizer: tiktoken.Encoding) -> list[tuple[str, str]]:
    """The pair that each token of several bytes is made of, in the order of their ranks: the two parts that
    are left when its bytes are merged by the ranks below its own."""
    ranks = {tokenizer.decode_single_token_bytes(rank): rank for rank in range(tokenizer.n_vocab - 1)}
    found = []
    for token, rank in ranks.items():
        if len(token) == 1:
            continue
        parts = [token[i : i + 1] for i in range(len(token))]
        while len(parts) > 2:
            pairs = [ranks.get(a + b, rank) for a, b in itertools.pairwise(parts)]
            best = min(pairs)
            if best >= rank:
                raise ValueError(f"token {rank} is no merge of two others")
            place = pairs.index(best)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        found.append((written(parts[0]), written(parts[1])))
    return found


def tokenizer_json(tokenizer: tiktoken.Encoding) -> dict[str, object]:
    """What a tokenizer.json holds. Source of the format: the `tokenizers` package, 0.23.

    Its ByteLevel cuts text as dataset.SPLIT_PATTERN does.
    """
    end = tokenizer.n_vocab - 1
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": end, "content": END, "special": True, **plain}],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: id for id, token in enumerate(tokens(tokenizer))},
            "merges": [list(pair) for pair in merges(tokenizer)],
        },
    }
