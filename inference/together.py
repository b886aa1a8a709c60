"""Stories told together, whoever asks for them: each comes and goes between two steps of the others.

    together = Together(model, choose_token)
    with together.join(request, sampling, whose="192.0.2.7") as telling:    # raises Full
        async for news in telling.news():                # its place in the queue, then the story so far
            ...

What the engine tells is the same story as alone. PyTorch tells one at a time.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from common.errors import InputError
from inference import engine
from inference.engine import Engine
from inference.sampling import Sampling
from inference.stories import Draft, Model, Request, Story, encode_requests, stream_ids

if TYPE_CHECKING:
    from inference.decoding import TokenChoice

MOST_ROWS = 40  # texts that are read in a step; those that ask for other endings count
MOST_JOINING = 4  # in a step, as their prompts keep the others waiting
LONGEST_QUEUE = 300
SHARE = 4  # of one visitor: texts of stories that are told or wait
MOST_FAILURES = 3  # of steps, in a row
SECONDS = 1.0  # without news, after which the last is told again


class Full(InputError):
    """So many stories are told or wait that one more is refused."""


class Telling:
    """A story that was asked for. What another thread tells of it is read in the event loop that made it."""

    def __init__(
        self, model: Model, request: Request, sampling: Sampling, choose: "TokenChoice", whose: str
    ) -> None:
        """Raises InputError if the topic is empty or leaves no room."""
        eos = model.config.vocab_size - 1
        prompts, others = encode_requests(model, [request], sampling.ending_strength)
        self.rows = 1 + sum(map(len, others))
        self.whose = whose
        self.place: int | None = None  # in the queue, from 1; None: it is told
        self._left = sampling.max_new_tokens
        self._draft = Draft(request.seed, model.config.vocab_size, eos)
        if isinstance(model, Engine):
            texts = [*prompts, *(other for rest in others for other in rest)]
            self.story = engine.Story(model, texts, request.seed, sampling)
        else:
            self.steps = stream_ids(model, prompts, [request.seed], sampling, choose, eos, others)
        self.so_far: Story | None = None
        self.is_told = False
        self.error: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def add(self, token: int) -> None:
        """Called by the thread that tells it."""
        self._left -= 1
        more = self._draft.add(token)
        is_told = self._draft.complete or not self._left
        if more or is_told:
            self.so_far = self._draft.end() if is_told else self._draft.so_far()
            self.is_told = is_told  # the last to be set, the first to be looked at
            self.wake()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.is_told = True
        self.wake()

    def wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._changed.set)

    async def news(self, pause: float = 0.0) -> AsyncIterator[Story | int]:
        """Its place whenever that changes, then the story whenever there is more of it; at least once in
        SECONDS, at most once in `pause` seconds. The last is the whole story."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SECONDS):
                    await self._changed.wait()
            self._changed.clear()
            is_told = self.is_told
            if self.error:
                raise self.error
            news = self.so_far or self.place
            if news is not None:
                yield news
            if is_told:
                return
            await asyncio.sleep(pause)


class Together:
    """A thread that tells all stories that are asked for, and the queue in front of it."""

    def __init__(
        self,
        model: Model,
        choose: "TokenChoice",
        share: int = SHARE,
        longest_queue: int = LONGEST_QUEUE,
        most_rows: int = MOST_ROWS,
    ) -> None:
        self.model, self._choose = model, choose
        self.share, self._longest_queue = share, longest_queue
        self._most_rows = most_rows if isinstance(model, Engine) else 1
        self._is_closed = False
        self._waiting: list[Telling] = []
        self._told: list[Telling] = []
        self._lock = threading.Condition()
        self._thread = threading.Thread(target=self._tell, name="stories", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it goes on telling: not after `close`, or three steps that failed behind each other."""
        return self._thread.is_alive() and not self._is_closed

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            self._lock.notify()

    @contextlib.contextmanager
    def join(self, request: Request, sampling: Sampling, whose: str = "") -> Iterator[Telling]:
        """To be entered in an event loop; at its end the story is dropped. Raises Full, and InputError."""
        with self._lock:
            self._check_room(sampling, whose)
        telling = Telling(self.model, request, sampling, self._choose, whose)
        with self._lock:
            self._waiting.append(telling)
            self._say_places()
            self._lock.notify()
        try:
            yield telling
        finally:
            with self._lock:
                for tellings in (self._waiting, self._told):
                    if telling in tellings:
                        tellings.remove(telling)
                self._say_places()

    def _check_room(self, sampling: Sampling, whose: str) -> None:
        if not self.is_alive():
            raise Full("no more stories are told here; come again in a while")
        rows = 1 if sampling.ending_strength == 1 else len(self.model.taught.endings)
        taken = sum(other.rows for other in self._waiting + self._told if other.whose == whose)
        if whose and taken and taken + rows > self.share:
            raise Full(
                "the most stories at once are already being told for your address; wait until one has ended"
            )
        if len(self._waiting) >= self._longest_queue:
            raise Full(f"{len(self._waiting)} wait for their stories already; come again in a while")

    def count(self) -> int:
        """Of stories that are told now."""
        return len(self._told)

    def _say_places(self) -> None:
        """Those for whom there is room have none: they are told in a moment."""
        rows, places = sum(telling.rows for telling in self._told), 0
        for telling in self._waiting:
            rows += telling.rows
            places += places > 0 or rows > max(self._most_rows, telling.rows)
            if telling.place != (places or None):
                telling.place = places or None
                telling.wake()

    def _tell(self) -> None:
        try:
            self._tell_on()
        finally:
            with self._lock:
                self._is_closed = True
                for telling in (*self._waiting, *self._told):
                    telling.fail(RuntimeError("no more stories are told"))

    def _tell_on(self) -> None:
        failed = 0
        while failed < MOST_FAILURES:
            with self._lock:
                self._lock.wait_for(lambda: self._waiting or self._told or self._is_closed)
                if self._is_closed:
                    return
                self._let_in()
                told = list(self._told)
            try:
                tokens = self._step(told)
            except Exception as error:
                failed += 1
                for telling in told:
                    telling.fail(error)
            else:
                failed = 0
                for telling, token in zip(told, tokens, strict=True):
                    telling.add(token)
            with self._lock:
                self._told = [telling for telling in self._told if not telling.is_told]

    def _let_in(self) -> None:
        """Those that wait, in their order, as far as there is room."""
        rows = sum(telling.rows for telling in self._told)
        for _ in range(MOST_JOINING):
            if not self._waiting or (self._told and rows + self._waiting[0].rows > self._most_rows):
                break
            telling = self._waiting.pop(0)
            telling.place = None
            rows += telling.rows
            self._told.append(telling)
        self._say_places()

    def _step(self, told: list[Telling]) -> list[int]:
        """The next token of each."""
        if isinstance(self.model, Engine):
            return self.model.next_tokens([telling.story for telling in told])
        return [token for telling in told for token in next(telling.steps)]
