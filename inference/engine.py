"""Stories on a CPU without PyTorch: what engine.c computes, for weights that lie in a mapped file.

    engine = Engine(weights, config)               # numpy arrays by their published names
    for tokens in engine.stream_tokens([prompt, other], seeds=[0, 1], sampling=Sampling(), eos_id=50256): ...

The same prompt, seed and sampling give the same tokens on every machine, with any number of threads, whatever
else is told. PyTorch (decoding.py) computes the same but for rounding, with other bits on each.
"""

import ctypes
import functools
import hashlib
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from ctypes import byref
from pathlib import Path
from typing import Any

import numpy as np

from common.endings import Taught, read_taught
from common.layout import map_weights
from common.presets import ModelConfig
from inference.compile import EngineError, load_library, open_library
from inference.interface import (
    CBlock,
    CDraw,
    CEmbedding,
    CLinear,
    CModel,
    CNorm,
    CRoom,
    CStep,
    CText,
    Helpers,
    declare,
    padded,
    zeros,
)
from inference.sampling import Sampling

MOST_TOKENS, MOST_COLS = 64, 8192  # as in engine.c
Weights = Mapping[str, np.ndarray]


class Text:
    """A text that is read: its ids, and keys and values of those that are."""

    def __init__(self, engine: "Engine", ids: Sequence[int], room: int) -> None:
        c = engine.config
        self.ids, self.read = list(ids), 0
        self.cache = zeros(c.num_layers, 2, c.num_heads, room, padded(c.embedding_dim // c.num_heads))

    def unread(self, context: int) -> list[tuple[int, int]]:
        """The next tokens and their positions. Past the context every position moves: all is read again."""
        if len(self.ids) > context:
            return list(zip(self.ids[-context:], range(context), strict=True))
        return list(zip(self.ids[self.read :], range(self.read, len(self.ids)), strict=True))


class Story:
    """One that is told: its text, the same behind each prompt for another ending, and how it is drawn."""

    def __init__(
        self, engine: "Engine", prompts: Sequence[Sequence[int]], seed: int, sampling: Sampling
    ) -> None:
        context = engine.config.context_length
        room = min(max(map(len, prompts)) + sampling.max_new_tokens, context)
        self.texts = [Text(engine, prompt[-context:], room) for prompt in prompts]
        self.seed, self.sampling, self.told = seed, sampling, 0


class Engine:
    """A model's weights, as engine.c takes them, and the threads that help."""

    def __init__(
        self,
        weights: Weights,
        config: ModelConfig,
        threads: int = 1,
        taught: Taught = Taught(),  # noqa: B008 (it cannot be changed)
        library: ctypes.CDLL | None = None,
    ) -> None:
        """Raises EngineError if there is no engine here, or it does not take such weights."""
        c = self.config = config
        self.taught, self.threads = taught, threads
        self.is_int8 = "output_layer.scale" in weights
        if (
            max(4 * c.embedding_dim, c.context_length) > MOST_COLS
            or c.embedding_dim % c.num_heads
            or c.vocab_size > MOST_TOKENS << 16
        ):
            raise EngineError(f"it takes no model of this shape: {config}")
        self._library = library or load_engine()
        self._held: list[Any] = []
        self._model = self._lay_out(weights)
        head = c.num_heads * padded(c.embedding_dim // c.num_heads)
        width, wide = padded(c.embedding_dim), padded(4 * c.embedding_dim)
        floats = [zeros(MOST_TOKENS, each) for each in (width, width, width, head, wide, 1)]
        *places, scale = map(self._address, floats)
        self._room = CRoom(*places, self._address(zeros(MOST_TOKENS, wide, of=np.int16)), scale)
        self._scratch = zeros(self._library.engine_scratch(byref(self._model)))
        self._lock = threading.Lock()
        self._used: list[Any] = []  # by earlier steps, and perhaps by a helper that is late
        self._helpers = Helpers(self._library, threads - 1, len(self._scratch)) if threads > 1 else None
        if self._helpers:  # they end before the memory that they look at is gone
            weakref.finalize(self, self._helpers.close)

    @classmethod
    def from_file(cls, file: Path, threads: int) -> "Engine":
        """The model in a .safetensors file. Raises EngineError, or CheckpointError if it holds none."""
        weights, config = map_weights(file)
        return cls(weights, config, threads, read_taught(file.parent))

    def __str__(self) -> str:
        kind = "int8" if self.is_int8 else "float32"
        threads = "a thread" if self.threads == 1 else f"{self.threads} threads"
        return f"engine, {kind}, {threads}, {self._library.engine_instructions().decode()}"

    def _address(self, array: np.ndarray) -> int:
        self._held.append(array)
        return array.ctypes.data

    def _lay_out(self, weights: Weights) -> CModel:
        c = self.config
        H, C, V = c.num_heads, c.embedding_dim, c.vocab_size
        used = set()

        def find(name: str, *shape: int, kinds: tuple[Any, ...] = (np.float32,)) -> int:
            if name not in weights:
                raise EngineError(f"the weights lack {name}")
            array = weights[name]
            if array.shape != shape or array.dtype not in kinds:
                raise EngineError(f"{name} has {array.shape} {array.dtype}, not {shape}")
            if array.dtype == np.float32 and not np.isfinite(array.sum()):
                raise EngineError(f"{name} holds what is no number, or infinite")
            used.add(name)
            return self._address(np.require(array, requirements=["C", "A"]))

        def scaled(name: str, rows: int, cols: int) -> tuple[int, int | None]:
            is_int8 = f"{name}.scale" in weights
            weight = find(f"{name}.weight", rows, cols, kinds=(np.int8 if is_int8 else np.float32,))
            return weight, find(f"{name}.scale", rows) if is_int8 else None

        def linear(name: str, rows: int, cols: int) -> CLinear:
            return CLinear(*scaled(name, rows, cols), find(f"{name}.bias", rows), rows, cols)

        def norm(name: str) -> CNorm:
            return CNorm(find(f"{name}.weight", C), find(f"{name}.bias", C))

        blocks = (CBlock * c.num_layers)()
        for i in range(c.num_layers):
            block = f"blocks.{i}"
            names = [f"{block}.mha.heads.{h}.{part}" for part in "qkv" for h in range(H)]
            heads = (CLinear * (3 * H))(*(linear(name, C // H, C) for name in names))
            self._held.append(heads)
            blocks[i] = CBlock(
                norm(f"{block}.layer_norm1"),
                norm(f"{block}.layer_norm2"),
                heads,
                linear(f"{block}.mha.out_proj", C, C),
                linear(f"{block}.feed_forward.layers.0", 4 * C, C),
                linear(f"{block}.feed_forward.layers.2", C, 4 * C),
            )
        self._held.append(blocks)
        model = CModel(
            *(V, c.context_length, C, c.num_layers, H),
            CEmbedding(*scaled("embeddings.token_embedding", V, C)),
            CEmbedding(*scaled("embeddings.pos_embedding", c.context_length, C)),
            blocks,
            norm("layer_norm"),
            linear("output_layer", V, C),
        )
        if unknown := sorted(weights.keys() - used):
            raise EngineError(f"the weights hold {unknown[0]}, which is unknown")
        return model

    def stream_tokens(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        sampling: Sampling,
        eos_id: int,
        others: Sequence[Sequence[Sequence[int]]] = (),
    ) -> Iterator[list[int]]:
        """As `decoding.stream_tokens`, with lists in the place of tensors."""
        rests = others or [()] * len(prompts)
        stories = [
            Story(self, [prompt, *rest], seed, sampling)
            for prompt, rest, seed in zip(prompts, rests, seeds, strict=True)
        ]
        going = list(range(len(stories)))
        for _ in range(sampling.max_new_tokens):
            step = [eos_id] * len(stories)
            for i, token in zip(going, self.next_tokens([stories[i] for i in going]), strict=True):
                step[i] = token
            yield step
            going = [i for i in going if step[i] != eos_id]
            if not going:
                return

    def next_tokens(self, stories: Sequence[Story]) -> list[int]:
        """A token more of each, any number of stories, wherever each has come to."""
        tokens = []
        group: list[Story] = []
        for story in stories:
            if sum(len(other.texts) for other in (*group, story)) > MOST_TOKENS:
                tokens += self._next_tokens(group)
                group = []
            group.append(story)
        return tokens + self._next_tokens(group)

    def _next_tokens(self, stories: Sequence[Story]) -> list[int]:
        """The same for so few that their last tokens are one step. Others that are unread, as prompts are
        at first, are read before."""
        V, context = self.config.vocab_size, self.config.context_length
        last: list[tuple[Text, int, int]] = []
        before: list[tuple[Text, int, int]] = []
        for text in (text for story in stories for text in story.texts):
            *unread, (token, position) = text.unread(context)
            before += [(text, *each) for each in unread]
            last.append((text, token, position))
            text.read = len(text.ids)
        for i in range(0, len(before), MOST_TOKENS):
            self.step(before[i : i + MOST_TOKENS], ())
        draws = [
            CDraw(
                *(len(story.texts), min(how.top_k or V, V), how.ending_strength, how.temperature),
                *(how.top_p, story.seed, story.told),
            )
            for story in stories
            for how in [story.sampling]
        ]
        self.step(last, draws)
        for story, draw in zip(stories, draws, strict=True):
            story.told += 1
            for text in story.texts:
                text.ids.append(draw.token)
        return [draw.token for draw in draws]

    def step(self, tokens: Sequence[tuple[Text, int, int]], draws: Sequence[CDraw]) -> np.ndarray:
        """Read at most MOST_TOKENS tokens, each with its text and position. What `draws` draw behind are the
        last ones. Sets the draws' tokens, and returns the logits that they came from, (draws, V) float32."""
        V, context = self.config.vocab_size, self.config.context_length
        rows = sum(draw.rows for draw in draws)
        if not 0 < len(tokens) <= MOST_TOKENS or rows > len(tokens):
            raise ValueError(f"{len(tokens)} tokens, {rows} rows of draws")
        texts = list({id(text): text for text, *_ in tokens}.values())
        number = {id(text): i for i, text in enumerate(texts)}
        ids, of, positions = np.array(
            [(token, number[id(text)], position) for text, token, position in tokens], np.int32
        ).T.copy()
        rooms = np.array([text.cache.shape[3] for text in texts])
        if ids.min() < 0 or ids.max() >= V or positions.min() < 0 or (positions >= rooms[of]).any():
            raise ValueError("a token or position is out of range")
        if positions.max() >= context or any(draw.rows < 1 or not 1 <= draw.top_k <= V for draw in draws):
            raise ValueError("a position or a draw is out of range")
        asking = np.arange(len(tokens) - rows, len(tokens), dtype=np.int32)
        caches = [CText(text.cache.ctypes.data, text.cache.shape[3]) for text in texts]
        laid_out = (CText * len(texts))(*caches)
        drawn = (CDraw * len(draws))(*draws)
        logits = np.empty((len(draws), V), np.float32)
        step = CStep(
            ctypes.addressof(laid_out),
            *(array.ctypes.data for array in (ids, of, positions, asking)),
            ctypes.addressof(drawn),
            logits.ctypes.data,
            *(len(tokens), len(draws)),
        )
        pool = self._helpers.wake() if self._helpers else None
        with self._lock:
            self._used.append((texts, ids, of, positions, asking, laid_out, drawn, logits, step))
            self._library.engine_step(
                byref(self._model), byref(step), byref(self._room), pool, self._scratch.ctypes.data
            )
            if pool is None or self._library.engine_is_idle(pool):
                self._used.clear()
        for draw, done in zip(draws, drawn, strict=True):
            draw.token = done.token
        return logits


@functools.cache
def load_engine() -> ctypes.CDLL:
    """The compiled engine. Raises EngineError if there is none that computes as it must."""
    library = declare(load_library())
    if answer(library) != KNOWN_ANSWER:
        raise EngineError("it computes otherwise than it must on this machine; remove it from the cache")
    return library


def is_right(file: str) -> bool:
    """Whether a library gives the known answer."""
    return answer(declare(open_library(Path(file)))) == KNOWN_ANSWER


KNOWN_ANSWER = "f7810e9cb389094f4fcedd7415e62d9d"


def _some_weights(config: ModelConfig, is_int8: bool) -> dict[str, np.ndarray]:
    """Of moderate size, the same on every machine."""
    C, V, H = config.embedding_dim, config.vocab_size, config.num_heads
    blocks = [f"blocks.{i}" for i in range(config.num_layers)]
    matrices = {"embeddings.token_embedding": (V, C), "embeddings.pos_embedding": (config.context_length, C)}
    for block in blocks:
        matrices |= {f"{block}.mha.heads.{h}.{part}": (C // H, C) for h in range(H) for part in "qkv"}
        matrices |= {f"{block}.mha.out_proj": (C, C)}
        matrices |= {
            f"{block}.feed_forward.layers.0": (4 * C, C),
            f"{block}.feed_forward.layers.2": (C, 4 * C),
        }
    matrices["output_layer"] = (V, C)

    def whole(*shape: int) -> np.ndarray:  # from -127 to 127
        n = np.arange(np.prod(shape), dtype=np.uint64) + np.uint64(len(weights) * 7919)
        return ((n * n * np.uint64(2654435761) >> np.uint64(13)) % np.uint64(255)).astype(np.int64).reshape(
            shape
        ) - 127

    weights: dict[str, np.ndarray] = {}
    for name, (rows, cols) in matrices.items():
        scale = np.float32(1 / 512) * (1 + np.arange(rows, dtype=np.float32) % 4)
        if is_int8:
            weights[f"{name}.weight"], weights[f"{name}.scale"] = whole(rows, cols).astype(np.int8), scale
        else:
            weights[f"{name}.weight"] = whole(rows, cols).astype(np.float32) * scale[:, None]
        if "embedding" not in name:
            weights[f"{name}.bias"] = whole(rows).astype(np.float32) / np.float32(1024)
    for name in ["layer_norm", *(f"{block}.layer_norm{i}" for block in blocks for i in (1, 2))]:
        weights[f"{name}.weight"] = 1 + whole(C).astype(np.float32) / np.float32(512)
        weights[f"{name}.bias"] = whole(C).astype(np.float32) / np.float32(512)
    return weights


def answer(library: ctypes.CDLL) -> str:
    """A hash of the logits and tokens of three short stories, in int8 and in float32: a few milliseconds."""
    config = ModelConfig(0.0, 61, 24, 36, 2, 3)
    digest = hashlib.blake2b(digest_size=16)
    for is_int8 in (True, False):
        engine = Engine(_some_weights(config, is_int8), config, library=library)
        prompts = [[1, 2, 3], list(range(20)), [60]]
        stories = [
            Story(engine, [prompt, [9, *prompt]], seed, Sampling(4, 0.8 * (seed % 2), 7, 0.9, 1.5))
            for seed, prompt in enumerate(prompts)
        ]
        for _ in range(3):
            digest.update(bytes(engine.next_tokens(stories)))
        last = [(text, text.ids[-1], len(text.ids) - 1) for story in stories for text in story.texts]
        draws = [CDraw(2, config.vocab_size, 1.5, 0.8, 1.0, story.seed, 3) for story in stories]
        digest.update(engine.step(last, draws).tobytes())
    return digest.hexdigest()
