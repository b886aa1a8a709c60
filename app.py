"""The web demo: a topic and an ending in, a story that writes itself on the page.

    uv run --extra app python app.py                        # with the newest model that was trained here
    MODEL=you/my-stories PORT=8080 uv run --extra app python app.py

Visitors wait in Gradio's queue. Four stories at a time are told by `stream_story`, token by token in turn;
Stop, or leaving the page, ends one. The API tells the same ones. Nothing that a visitor types is logged or
quoted, and of Gradio's routes only those that the page needs are open.
"""

import functools
import json
import os
import re
import socket
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Gradio would keep figures of 10,000 visits and sum them up after every story; it reads these at import.
os.environ |= {"GRADIO_ANALYTICS_MAX_EVENTS": "1", "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000"}
os.environ.setdefault("PATH", os.defpath)  # what Gradio imports fails without one

try:
    import gradio as gr
except Exception as error:  # when imported, it opens a client with the proxy that is set
    said = "gradio cannot be imported; start with uv run --extra app; correct or unset ALL_PROXY, HTTPS_PROXY"
    print(f"app.py: error: {said}, HTTP_PROXY, SSL_CERT_FILE ({error})", file=sys.stderr)
    sys.exit(2)
import uvicorn
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from common.checkpoints import newest_checkpoint
from common.cli import parse, run, setting
from common.endings import either
from common.errors import InputError
from common.seeds import new_seed
from dataset import other_endings
from generate import choose_token
from inference.engine import Engine
from inference.opening import open_model
from inference.sampling import LARGEST_SEED, Sampling
from inference.stories import Model, Request, Story, encode_requests, longest_prompt, stream_story

# What hosts set, as options; those of the command line come after them.
ENVIRONMENT = {"MODEL": "--checkpoint", "HOST": "--host", "PORT": "--port", "DEVICE": "--device"}
EXAMPLES = (
    "A little bear finds a red balloon in the forest.",
    "Lily and her cat plant a seed in the garden.",
    "Tom builds a boat, but the river is fast.",
    "a lost dog",
)
LONGEST_TOPIC = 500  # characters
TEMPERATURES = 0.1, 1.4
STRENGTHS = 0, 3
FEWEST_TOKENS = 20
MOST_AT_ONCE = 4  # stories; more are not told sooner
LONGEST_QUEUE = 30
LARGEST_REQUEST = 2**16  # bytes
ROUTES = re.compile(  # of Gradio's others, some hand out or fetch files
    r"/|/health|/config|/theme\.css|/favicon\.ico|/manifest\.json|/(assets|static)/.*"
    r"|/gradio_api/(info|startup-events|cancel|reset|queue/join|queue/data|heartbeat/\w+|call/story(/\w+)?)"
)
REFRESH_SECONDS = 0.05
SESSIONS = 100  # pages of which Gradio remembers what it showed, some for an hour
STYLE = """<style>
.gradio-container .story textarea { font: 1.15rem/1.6 Georgia, serif; }
@supports (field-sizing: content) {  /* as high as its story, at any width */
    .gradio-container .story textarea { field-sizing: content; height: auto !important; }
}
.gradio-container .note p { font-size: 0.85rem; opacity: 0.8; }
</style>"""


@dataclass(frozen=True)
class Settings:
    checkpoint: str | None = setting(
        None, "a folder, a file or a Hub id; default: $MODEL, or the newest model that was trained here"
    )
    host: str = setting("127.0.0.1", "address to listen on, 0.0.0.0 for all of them; or $HOST")
    port: int = setting(7860, "port to listen on; or $PORT", at_least=1, at_most=65535)
    device: str = setting("auto", "cpu, cuda, cuda:1 ...; auto takes a GPU if there is one; or $DEVICE")


def check_request(
    model: Model,
    topic: Any,
    ending: Any,
    temperature: Any,
    max_tokens: Any,
    ending_strength: Any,
    seed: Any,
) -> tuple[Request, Sampling]:
    """What a visitor asked for, whatever came in. Raises InputError, with none of it quoted."""

    def number(name: str, value: Any, least: float, most: float) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise InputError(f"{name}: must be a number from {least} to {most}")
        return value

    if not isinstance(topic, str) or len(topic) > LONGEST_TOPIC:
        raise InputError(f"topic: must be a text of at most {LONGEST_TOPIC} characters")
    if ending not in model.taught.endings:
        raise InputError(f"ending: must be {either(model.taught.endings)}")
    context = model.config.context_length
    temperature = number("temperature", temperature, *TEMPERATURES)
    max_tokens = int(number("max_tokens", max_tokens, FEWEST_TOKENS, context))
    ending_strength = number("ending_strength", ending_strength, *STRENGTHS)
    seed = new_seed() if seed is None else int(number("seed", seed, 0, LARGEST_SEED))
    request = Request(topic, ending, seed)
    prompts, others = encode_requests(model, [request], ending_strength)
    room = context - longest_prompt(prompts, others)
    return request, Sampling(min(max_tokens, room), temperature, ending_strength=ending_strength)


def tell(model: Model, *asked: Any) -> Generator[Story, None, None]:
    """A story as far as it is told, some twenty times a second. `asked` is what `check_request` takes.

    Raises gr.Error, which the page and the API show.
    """
    try:
        stories = stream_story(model, *check_request(model, *asked), choose_token)
    except InputError as error:
        raise gr.Error(str(error).removeprefix("--"), print_exception=False) from None
    due = 0.0
    for story in stories:
        if story.complete or time.perf_counter() >= due:
            yield story
            due = time.perf_counter() + REFRESH_SECONDS
    if not story.complete:
        yield story


class Page(gr.Blocks):
    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> list[Any]:
        """A visitor's values as they came; `check_request` looks at them. Gradio's own method would copy
        files that they name into a folder that it serves, fetch addresses, keep all, and print what does not
        fit."""
        if block_fn.fn is None or len(inputs) != len(block_fn.inputs):
            raise gr.Error("not a request that the page makes", print_exception=False)
        return inputs


def build_page(model: Model, name: str, at_once: int) -> gr.Blocks:
    """The page, and the API that tells the same stories. `name` is the model's."""
    limits: Any = dict(concurrency_id="stories", concurrency_limit=at_once)
    hidden: Any = dict(limits, api_visibility="private", show_progress="minimal")
    box: Any = dict(label="Story", lines=8, max_lines=60, buttons=["copy"], elem_classes="story")
    link = f"[{name}](https://huggingface.co/{name.split('@')[0]})"
    endings = model.taught.endings
    if Path(name).exists():
        link = f"`{'/'.join(Path(name).parts[-2:])}`"  # visitors need not know where things are

    with Page(title="Tiny Tales", analytics_enabled=False) as page:
        gr.Markdown(f"# Tiny Tales\nSay what a story is about and how it ends; {link} tells it.")
        topic = gr.Textbox(
            label="What is the story about?", placeholder="a lost dog", max_lines=6, max_length=LONGEST_TOPIC
        )
        with gr.Row(equal_height=True):
            for example in EXAMPLES:  # gr.Examples would ask the server
                button = gr.Button(example, size="sm", min_width=120)
                button.click(None, outputs=topic, js=f"() => {json.dumps(example)}")
        with gr.Row():
            ending = gr.Radio(
                [(e.capitalize(), e) for e in endings], value=endings[0], label="How does it end?"
            )
            temperature = gr.Slider(*TEMPERATURES, 0.7, step=0.1, label="Temperature")
        with gr.Accordion("More", open=False):
            context = model.config.context_length
            max_tokens = gr.Slider(FEWEST_TOKENS, context, 200, step=1, label="Longest story, in tokens")
            strength = gr.Slider(*STRENGTHS, 1, step=0.1, label="Ending strength")
            seed = gr.Number(None, precision=0, label="Seed", placeholder="a new one every time")
        with gr.Row():
            generate = gr.Button("Generate", variant="primary", min_width=140)
            stop = gr.Button("Stop", min_width=140)
            others = [  # one for each ending that was not asked for
                gr.Button(other_label("another", endings), interactive=False, min_width=140)
                for _ in endings[1:]
            ]
        told = gr.JSON(visible=False)  # what the first story was asked for
        with gr.Row():
            with gr.Column(min_width=320):
                first = gr.Textbox(**box)
                first_note = gr.Markdown(elem_classes="note")
            with gr.Column(min_width=320, visible=False) as beside:
                second = gr.Textbox(**box)
                second_note = gr.Markdown(elem_classes="note")
        gr.Markdown(
            f"Told at a time: {at_once}. Places in the queue: {LONGEST_QUEUE}. What you type is not logged.",
            elem_classes="note",
        )

        def tell_first(*asked: Any) -> Iterator[dict[Any, Any]]:
            start = time.perf_counter()
            layout: dict[Any, Any] = {beside: gr.Column(visible=False)}
            for button, other in zip(others, other_endings(asked[1], endings), strict=False):
                layout[button] = gr.Button(other_label(other, endings), interactive=True)
            for story in tell(model, *asked):
                yield layout | {
                    first: gr.Textbox(story.text, label=f"{asked[1].capitalize()} ending"),
                    first_note: note(story, time.perf_counter() - start),
                    told: [*asked[:-1], story.seed],
                }
                layout = {}

        def tell_other(number: int, asked: Any) -> Iterator[dict[Any, Any]]:
            start = time.perf_counter()
            layout: dict[Any, Any] = {beside: gr.Column(visible=True)}
            try:
                topic, ending, temperature, max_tokens, strength, seed = asked
                ending = other_endings(ending, endings)[number]
            except (TypeError, ValueError):
                raise gr.Error("tell a story first", print_exception=False) from None
            for story in tell(model, topic, ending, temperature, max_tokens, strength, seed):
                yield layout | {
                    second: gr.Textbox(story.text, label=f"{ending.capitalize()} ending"),
                    second_note: note(story, time.perf_counter() - start),
                }
                layout = {}

        def story(
            topic: str,
            ending: str,
            temperature: float = 0.7,
            max_tokens: int = 200,
            ending_strength: float = 1.0,
            seed: int | None = None,
        ) -> Iterator[dict[str, Any]]:
            """A story about `topic`, as far as it is told: `text`, `seed`, `tokens`, `complete`."""
            for story in tell(model, topic, ending, temperature, max_tokens, ending_strength, seed):
                yield asdict(story)

        telling = gr.on(
            [generate.click, topic.submit],
            tell_first,
            [topic, ending, temperature, max_tokens, strength, seed],
            [first, first_note, told, *others, beside],
            show_progress_on=first,
            **hidden,
        )
        telling_others = [
            button.click(
                functools.partial(tell_other, number),
                told,
                [second, second_note, beside],
                show_progress_on=second,
                **hidden,
            )
            for number, button in enumerate(others)
        ]
        stop.click(None, cancels=[telling, *telling_others])
        gr.api(story, **limits)
    page.state_session_capacity = SESSIONS
    return page.queue(max_size=LONGEST_QUEUE, api_open=False)


def other_label(ending: str, endings: Sequence[str]) -> str:
    """Of the button that asks for another ending than was told; of two, there is only the other one."""
    return "The other ending" if len(endings) == 2 else f"{ending.capitalize()} ending"


def note(story: Story, seconds: float) -> str:
    so_far = "" if story.complete else " so far"
    return f"{story.tokens} tokens{so_far}, {story.tokens / seconds:,.0f} tokens/s, seed {story.seed}"


class RequestFilter:
    """Refuses, unread, what is larger than `LARGEST_REQUEST` or not for one of `ROUTES`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if not ROUTES.fullmatch(scope["path"]) or b"deep_link" in scope["query_string"]:
                await PlainTextResponse("not found", 404)(scope, receive, send)
                return
            if int(headers.get("content-length", 0)) > LARGEST_REQUEST or "transfer-encoding" in headers:
                await PlainTextResponse("too large", 413)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def build_server(model: Model, name: str, at_once: int) -> FastAPI:
    """The page, its API, and /health, which answers when stories can be told: this is called with a model."""
    server = FastAPI(openapi_url=None)
    server.add_middleware(RequestFilter)

    @server.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    return gr.mount_gradio_app(
        server,
        build_page(model, name, at_once),
        path="/",
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        head=STYLE,
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address. Raises InputError."""
    try:
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        raise InputError(f"--host {host} --port {port}: cannot listen there ({error.strerror})") from error
    return listening


def main(argv: list[str] | None = None) -> None:
    given = [f"{option}={value}" for name, option in ENVIRONMENT.items() if (value := os.environ.get(name))]
    settings = parse(Settings, given + (sys.argv[1:] if argv is None else argv), __doc__)
    listening = listen(settings.host, settings.port)
    name = settings.checkpoint or newest_checkpoint()
    model, how = open_model(name, settings.device)
    at_once = MOST_AT_ONCE if isinstance(model, Engine) else 1
    if not model.taught.endings:
        raise InputError(f"--checkpoint {name}: was taught no endings to choose from; use generate.py")
    first = Request(EXAMPLES[0], model.taught.endings[0], seed=0)
    list(stream_story(model, first, Sampling(max_new_tokens=FEWEST_TOKENS), choose_token))  # warms up
    server = build_server(model, name, at_once)
    address = f"http://{settings.host}:{settings.port}"
    print(f"model {name} on {how}, {at_once} stories at a time, {address}", file=sys.stderr)
    config = uvicorn.Config(
        server, log_level="warning", access_log=False, forwarded_allow_ips="*", timeout_graceful_shutdown=3
    )
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    run(main)
