"""Requests to stories: prompts, text as it comes (`stream_story`), many stories at once (`tell_stories`)."""

import codecs
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from common.errors import InputError
from dataset import check_prompt, format_instruction, get_tokenizer, other_endings
from inference.engine import Engine
from inference.sampling import LARGEST_SEED, Sampling

if TYPE_CHECKING:  # torch takes a second and a half to import
    from inference.decoding import TokenChoice
    from model import GPT2

Model: TypeAlias = "Engine | GPT2"  # what tells stories
LARGEST_BATCH = 64  # stories; on two cores, 128 of 30m were no faster


class Request(NamedTuple):
    """A story to tell. These three and the sampling decide what it says; told by PyTorch, but for rounding:
    in a batch with others, sums are rounded otherwise, and now and then a story differs."""

    topic: str
    ending: str
    seed: int

    def with_next_seeds(self, count: int) -> list["Request"]:
        """So many with this seed and those behind it."""
        return [self._replace(seed=(self.seed + i) % (LARGEST_SEED + 1)) for i in range(count)]


@dataclass(frozen=True)
class Story:
    text: str
    seed: int
    tokens: int
    complete: bool  # it ended by itself, not at the limit


def encode_prompt(model: Model, topic: str, ending: str) -> list[int]:
    """The prompt's ids; the topic's blanks and newlines become single blanks. To a model without
    endings, the topic is the prompt as it is.

    Raises InputError if the topic is empty, or leaves no room for a story, or the model has no such ending.
    """
    try:
        topic.encode()
    except UnicodeEncodeError as error:
        raise InputError("--topic: is not UTF-8") from error
    if not topic.strip():
        raise InputError("--topic: is empty; say what the story is about")
    check_prompt(model.taught)
    if endings := model.taught.endings:
        topic = " ".join(topic.split())
    prompt = format_instruction(topic, ending, endings=endings)
    ids = get_tokenizer(model.config.vocab_size).encode_ordinary(prompt)
    if len(ids) >= model.config.context_length:
        context = model.config.context_length
        raise InputError(
            f"--topic: makes a prompt of {len(ids):,} tokens, the model reads {context}; shorten it"
        )
    return ids


def encode_requests(
    model: Model, requests: Sequence[Request], strength: float
) -> tuple[list[list[int]], list[list[list[int]]]]:
    """The prompts' ids, and for each prompt, where `strength` needs them, those that ask for the other
    endings."""
    asked = [encode_prompt(model, topic, ending) for topic, ending, _ in requests]
    if strength == 1:
        return asked, []
    endings = model.taught.endings
    if not endings:
        raise InputError("--ending-strength: the model was taught no endings; leave it out")
    others = [
        [encode_prompt(model, topic, other) for other in other_endings(ending, endings)]
        for topic, ending, _ in requests
    ]
    return asked, others


def longest_prompt(prompts: Sequence[list[int]], others: Sequence[list[list[int]]]) -> int:
    """In tokens, of what `encode_requests` gave."""
    return max(map(len, chain(prompts, *others)))


def stream_ids(
    model: Model,
    prompts: list[list[int]],
    seeds: Sequence[int],
    sampling: Sampling,
    choose: "TokenChoice",
    eos_id: int,
    others: Sequence[list[list[int]]] = (),
) -> Iterator[list[int]]:
    """The next ids of all stories, step by step: `stream_tokens` of the engine or of PyTorch."""
    if isinstance(model, Engine):
        yield from model.stream_tokens(prompts, seeds, sampling, eos_id, others)
        return
    import torch

    from inference.decoding import stream_tokens

    tensors = [torch.tensor(prompt) for prompt in prompts]
    other_tensors = [[torch.tensor(other) for other in rest] for rest in others]
    for step in stream_tokens(model, tensors, seeds, sampling, choose, eos_id, other_tensors):
        yield step.tolist()


class Draft:
    """A story to which tokens are added: its text is as many of them as make whole characters."""

    def __init__(self, seed: int, vocab_size: int, eos_id: int) -> None:
        self._seed, self._eos_id = seed, eos_id
        self._tokenizer = get_tokenizer(vocab_size)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text, self._tokens = "", 0
        self.complete = False

    def add(self, token: int) -> bool:
        """Whether there is more text. From the end of text on, there is not."""
        self.complete = self.complete or token == self._eos_id
        if self.complete:
            return False
        self._tokens += 1
        piece = self._decoder.decode(self._tokenizer.decode_single_token_bytes(token))
        self._text += piece
        return bool(piece)

    def end(self) -> Story:
        """The whole of it, with what is no whole character."""
        self._text += self._decoder.decode(b"", final=True)
        return self.so_far()

    def so_far(self) -> Story:
        return Story(self._text, self._seed, self._tokens, self.complete)


def stream_story(
    model: Model, request: Request, sampling: Sampling, choose: "TokenChoice"
) -> Generator[Story, None, None]:
    """A story as far as it is told, whenever there is more text; the last one is that of `tell_stories`.

    To stop it, close the generator. Raises InputError, at once, if the topic is empty or leaves no room.
    """
    eos = model.config.vocab_size - 1
    prompts, others = encode_requests(model, [request], sampling.ending_strength)
    steps = stream_ids(model, prompts, [request.seed], sampling, choose, eos, others)

    def stories() -> Generator[Story, None, None]:
        draft = Draft(request.seed, model.config.vocab_size, eos)
        for (token,) in steps:
            if draft.add(token):
                yield draft.so_far()
        yield draft.end()

    return stories()


def tell_stories(
    model: Model,
    requests: Sequence[Request],
    sampling: Sampling,
    choose: "TokenChoice",
    eos_id: int | None = None,
    progress: str | None = None,
) -> list[Story]:
    """A story for every request, in their order, without the prompts. `eos_id` None is the model's own.

    With `progress`, a bar of that name shows how far it has come.
    """
    return list(tell_batches(model, requests, sampling, choose, eos_id, progress))


def tell_batches(
    model: Model,
    requests: Sequence[Request],
    sampling: Sampling,
    choose: "TokenChoice",
    eos_id: int | None = None,
    progress: str | None = None,
) -> Iterator[Story]:
    """The same, as soon as those that are told together are."""
    eos = model.config.vocab_size - 1 if eos_id is None else eos_id
    starts: Iterable[int] = range(0, len(requests), LARGEST_BATCH)
    if progress:
        from tqdm import tqdm

        starts = tqdm(starts, desc=progress, unit=" batches", leave=False)
    for start in starts:
        batch = requests[start : start + LARGEST_BATCH]
        seeds = [request.seed for request in batch]
        prompts, others = encode_requests(model, batch, sampling.ending_strength)
        steps = stream_ids(model, prompts, seeds, sampling, choose, eos, others)
        for row, seed in zip(zip(*steps, strict=True), seeds, strict=True):
            draft = Draft(seed, model.config.vocab_size, eos)
            for token in row:
                draft.add(token)
            yield draft.end()


def check_top_k(top_k: int, model: Model) -> None:
    """Raises InputError if the model has fewer tokens to choose from."""
    if top_k > model.config.vocab_size:
        raise InputError(f"--top-k {top_k}: the model has {model.config.vocab_size} tokens to choose from")


def limit_tokens(asked: int | None, prompt: int, context: int) -> int:
    """The tokens a story may have behind `prompt` tokens. Raises InputError if `asked` is more."""
    room = context - prompt
    if asked is not None and asked > room:
        raise InputError(
            f"--max-tokens {asked}: at most {room} fit behind this prompt "
            f"({prompt} tokens of the model's {context})"
        )
    return asked or min(Sampling.max_new_tokens, room)
