"""Jobs of visitors, in the place of Gradio's queue: its protocol, without its tables.

    jobs = Jobs(page)
    name = jobs.join(session, function, data, visitor)      # a POST of the page or of the API
    async for message in jobs.messages(session): ...        # the stream behind it

A job is computed while its stream is read, no faster than it is read, and ends with it; one that nobody comes
to read is never begun. So nothing is kept for anybody who is not there.

Of Gradio this knows the functions of a page (`fn`, `inputs`, `outputs`), and the messages that its page and
gradio_client read ("sse_v3"). Functions are asynchronous generators that take the visitor and the values as
they came, and yield a value or a dict of component -> value or gr.update().
"""

import asyncio
import inspect
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

# Gradio reads these at import. It would share a folder with whoever else runs it on this machine.
OWN = Path(tempfile.gettempdir()) / f"gradio-of-{os.getuid() if hasattr(os, 'getuid') else 'tiny-tales'}"
os.environ.setdefault("GRADIO_TEMP_DIR", str(OWN))
os.environ.setdefault("PATH", os.defpath)  # what Gradio imports fails without one

try:
    import gradio as gr
except Exception as error:  # when imported, it opens a client with the proxy that is set
    said = "gradio cannot be imported; start with `uv run`, which brings it; correct or unset ALL_PROXY"
    print(f"app.py: error: {said}, HTTPS_PROXY, HTTP_PROXY, SSL_CERT_FILE ({error})", file=sys.stderr)
    sys.exit(2)

UNREAD_FOR = 30.0  # seconds, after which a job that nobody came to read is dropped
OF_AN_ADDRESS = 16  # jobs; inference/together.py has a limit of its own, by cost
MOST_JOBS = 500
PULSE = 10.0  # seconds between two messages, at most

Message: TypeAlias = dict[str, Any]


class Refused(Exception):
    """A request that is not answered: the HTTP status, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass
class Job:
    session: str
    function: Any
    data: list[Any]
    visitor: gr.Request
    name: str = field(default_factory=lambda: secrets.token_hex(16))
    since: float = field(default_factory=time.monotonic)
    shown: list[Any] = field(default_factory=list)  # the last values that were sent
    work: "asyncio.Task[None] | None" = None
    task: "asyncio.Task[None] | None" = None


class Jobs:
    def __init__(self, page: gr.Blocks, of_an_address: int = OF_AN_ADDRESS) -> None:
        self._of_an_address = max(of_an_address, OF_AN_ADDRESS)
        self._functions: dict[int, Any] = {number: each for number, each in page.fns.items() if each.fn}
        self._jobs: dict[str, Job] = {}
        self._streams: dict[str, asyncio.Queue[Message]] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def of_api(self, name: str) -> int:
        """The number of a function of the API."""
        return next(number for number, each in self._functions.items() if each.api_name == name)

    def parameters(self, name: str) -> dict[str, Any]:
        """Of a function of the API, with their defaults."""
        _, *parameters = inspect.signature(self._functions[self.of_api(name)].fn).parameters.values()
        return {each.name: None if each.default is each.empty else each.default for each in parameters}

    def join(self, session: str | None, function: int, data: list[Any], visitor: gr.Request) -> str:
        """The new job's name; without a session, its session has it, too. Raises Refused."""
        if function not in self._functions or len(data) != len(self._functions[function].inputs):
            raise Refused(400, "not a request that the page makes")
        due = time.monotonic() - UNREAD_FOR
        for job in [job for job in self._jobs.values() if not job.task]:  # the oldest first
            if job.since < due or len(self._jobs) >= MOST_JOBS:
                del self._jobs[job.name]
        address = visitor.client.host
        if sum(job.visitor.client.host == address for job in self._jobs.values()) >= self._of_an_address:
            raise Refused(429, "too many stories are open from your address; wait until one has ended")
        if len(self._jobs) >= MOST_JOBS:
            raise Refused(503, "too many visitors at once; come again in a while")
        job = Job(session or "", self._functions[function], data, visitor)
        job.session = job.session or job.name
        self._jobs[job.name] = job
        if stream := self._streams.get(job.session):
            self._begin(job, stream)
        return job.name

    def stop(self, session: str, name: str) -> None:
        job = self._jobs.get(name)
        if job and job.session == session:
            if job.work:
                job.work.cancel()
            else:
                del self._jobs[name]

    def messages(self, session: str, is_call: bool = False) -> AsyncIterator[Message]:
        """Of all jobs of a session until they have ended; closing it ends them. Raises Refused.

        Where there are none, a call is refused. A page's session may be over before the page has heard that
        its job was taken; then there is nothing more.
        """
        if session in self._streams:
            raise Refused(409, "it is being read already")
        if is_call and not self._of(session):
            raise Refused(404, "no such job; it ended, or nobody came to read it")
        return self._messages(session)

    async def _messages(self, session: str) -> AsyncIterator[Message]:
        if session in self._streams:  # another reader came in the same moment
            return
        stream = self._streams[session] = asyncio.Queue(1)
        try:
            for job in self._of(session):
                self._begin(job, stream)
            while self._of(session):
                try:
                    async with asyncio.timeout(PULSE):
                        message = await stream.get()
                except TimeoutError:
                    message = {"msg": "heartbeat"}
                yield message
                if message["msg"] == "process_completed":
                    del self._jobs[message["event_id"]]
            del self._streams[session]  # from here on, a job is for the next stream
            yield {"msg": "close_stream"}
        finally:
            if self._streams.get(session) is stream:
                del self._streams[session]
                for job in self._of(session):
                    del self._jobs[job.name]
                    if job.task and job.work:
                        job.task.cancel()
                        job.work.cancel()

    def _of(self, session: str) -> list[Job]:
        return [job for job in self._jobs.values() if job.session == session]

    def _begin(self, job: Job, stream: "asyncio.Queue[Message]") -> None:
        job.work = asyncio.create_task(self._work(job, stream))
        job.work.add_done_callback(lambda work: work.cancelled() or work.exception())  # seen, if not by _run
        job.task = asyncio.create_task(self._run(job, job.work, stream))

    async def _run(self, job: Job, work: "asyncio.Task[None]", stream: "asyncio.Queue[Message]") -> None:
        await asyncio.wait([work])
        error = None if work.cancelled() else work.exception()
        output = {"data": job.shown, "is_generating": False}
        if error:
            if not isinstance(error, gr.Error):
                print(f"note: a job failed: {type(error).__name__}", file=sys.stderr)
            said = error.message if isinstance(error, gr.Error) else "the story failed; try again"
            output = {"error": said, "duration": 10, "visible": True, "title": "Error"}
        ended = {"msg": "process_completed", "event_id": job.name, "success": not error, "output": output}
        await stream.put(ended)

    async def _work(self, job: Job, stream: "asyncio.Queue[Message]") -> None:
        await stream.put({"msg": "process_starts", "event_id": job.name})
        generating = {"msg": "process_generating", "event_id": job.name, "success": True}
        async with aclosing(job.function.fn(job.visitor, *job.data)) as values:
            async for value in values:
                is_first, job.shown = not job.shown, laid_out(job.function.outputs, value)
                output = {"data": job.shown, "is_generating": True}
                await stream.put(generating | {"output": output, "is_first": is_first})


def laid_out(outputs: list[Any], value: Any) -> list[Any]:
    """What a function yields, as a value for each of its outputs."""
    if len(outputs) == 1 and not (isinstance(value, dict) and outputs[0] in value):
        return [value]
    return [value.get(output, gr.skip()) for output in outputs]
