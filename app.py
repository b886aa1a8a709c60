"""The web demo: a topic and an ending in, a story that writes itself on the page.

    uv run python app.py                        # with the newest model that was trained here
    MODEL=you/my-stories PORT=8080 uv run python app.py

All visitors' stories are told together (inference/together.py); Stop, or leaving the page, ends one. The API
tells the same ones. What comes in passes serving/fence.py first. Nothing that a visitor types is logged or
quoted.
"""

import html
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from common.checkpoints import newest_checkpoint
from common.cli import parse, run, setting
from common.errors import InputError, one_line
from dataset import other_endings
from generate import choose_token
from inference.opening import open_model
from inference.sampling import Sampling
from inference.stories import Request, Story, tell_stories
from inference.together import SHARE, Together
from serving.fence import Networks, address_of, networks
from serving.jobs import gr  # gradio, imported with care
from serving.server import VISITOR_HEADER, build_server, listen, serve
from serving.visit import (
    FEWEST_TOKENS,
    LONGEST_STORY,
    LONGEST_TOPIC,
    NAMES,
    STRENGTHS,
    TEMPERATURES,
    card,
    tell,
)

# What hosts set, as options; those of the command line come after them.
ENVIRONMENT = {
    **{"MODEL": "--checkpoint", "HOST": "--host", "PORT": "--port", "DEVICE": "--device"},
    **{"PROXIES": "--proxies", "VISITOR_HEADER": "--visitor-header", "SHARE": "--share"},
}
EXAMPLES = (
    "A little bear finds a red balloon in the forest.",
    "Lily and her cat plant a seed in the garden.",
    "Tom builds a boat, but the river is fast.",
    "a lost dog",
)
LOOK = Path(__file__).parent / "assets" / "demo.css"


@dataclass(frozen=True)
class Settings:
    checkpoint: str | None = setting(
        None, "a folder, a file or a Hub id; default: $MODEL, or the newest model that was trained here"
    )
    host: str = setting("127.0.0.1", "address to listen on, 0.0.0.0 for all of them; or $HOST")
    port: int = setting(7860, "port to listen on; or $PORT", at_least=1, at_most=65535)
    device: str = setting("auto", "cpu, cuda, cuda:1 ...; auto takes a GPU if there is one; or $DEVICE")
    proxies: str = setting("", "addresses or networks of proxies that name a visitor's; or $PROXIES")
    visitor_header: str = setting(VISITOR_HEADER, "by which they do; or $VISITOR_HEADER")
    share: int = setting(
        SHARE,
        "stories at once for one address, by a strength one for each ending; or $SHARE",
        at_least=1,
    )


def build_page(together: Together, name: str) -> gr.Blocks:
    """The page, and the API that tells the same stories. `name` is the model's."""
    model = together.model
    endings = model.taught.endings
    context = model.config.context_length
    shown = name  # visitors need not know where things are
    if Path(name).exists():
        shown = "/".join(Path(name).resolve().parts[1:][-2:])
    with gr.Blocks(title="Tiny Tales", analytics_enabled=False) as page:
        gr.HTML("<h1>Tiny Tales</h1><p>Say what a story is about and how it ends.</p>", elem_classes="top")
        topic = gr.Textbox(
            label="What is the story about?", placeholder="a lost dog", max_lines=6, max_length=LONGEST_TOPIC
        )
        with gr.Row():
            for example in EXAMPLES:  # gr.Examples would ask the server
                button = gr.Button(example, size="sm", min_width=120)
                button.click(None, outputs=topic, js=f"() => {json.dumps(example)}")
        ending = gr.Radio([(e.capitalize(), e) for e in endings], value=endings[0], label="How does it end?")
        with gr.Accordion("More", open=False):
            temperature = gr.Slider(*TEMPERATURES, 0.7, step=0.1, label="Temperature")
            max_tokens = gr.Slider(
                FEWEST_TOKENS, context, LONGEST_STORY, step=1, label="Longest story, in tokens"
            )
            strength = gr.Slider(*STRENGTHS, 1, step=0.1, label="Ending strength")
            seed = gr.Number(None, precision=0, label="Seed", placeholder="a new one every time")
        asked = [topic, ending, temperature, max_tokens, strength, seed]
        with gr.Row():
            generate = gr.Button("Tell the story", variant="primary", min_width=140, elem_id="tell")
            stop = gr.Button("Stop", min_width=140)
            others = [  # one for each ending that was not asked for
                gr.Button(other_label("another", endings), interactive=False, min_width=140)
                for _ in endings[1:]
            ]
        told = gr.JSON(visible=False)  # what the first story was asked for
        with gr.Row(elem_classes="stories"):
            first = gr.HTML(elem_classes="told")
            second = gr.HTML(elem_classes="told", visible=False)
        gr.HTML(
            f"<p>The stories are those of a small model, {html.escape(shown)}, and unread by anybody. "
            "What you type is not logged.</p>",
            elem_classes="bottom",
        )

        async def tell_first(visitor: gr.Request, *asked: Any) -> AsyncIterator[dict[Any, Any]]:
            is_new = True
            async for card, seed in cards(visitor, asked):
                shown: dict[Any, Any] = {first: card, told: [*asked[:-1], seed]}
                if is_new:
                    shown[second] = gr.update(visible=False)
                    for button, other in zip(others, other_endings(asked[1], endings), strict=True):
                        shown[button] = gr.update(value=other_label(other, endings), interactive=True)
                    is_new = False
                yield shown

        def tell_other(number: int) -> Any:
            async def tell_it(visitor: gr.Request, asked: Any) -> AsyncIterator[Any]:
                if not isinstance(asked, list) or len(asked) != len(NAMES) or asked[1] not in endings:
                    raise gr.Error("tell a story first")
                topic, ending, *rest = asked
                other = other_endings(ending, endings)[number]
                async for card, _ in cards(visitor, (topic, other, *rest)):
                    yield gr.update(value=card, visible=True)

            return tell_it

        async def cards(visitor: gr.Request, asked: Sequence[Any]) -> AsyncIterator[tuple[str, Any]]:
            """What the page shows of a story, and its seed."""
            start, story = time.perf_counter(), None
            async for news in tell(together, visitor, asked):
                story = news if isinstance(news, Story) else None
                yield card(asked, news, time.perf_counter() - start), story.seed if story else asked[-1]
            if story:
                yield card(asked, story, time.perf_counter() - start, is_told=True), story.seed

        async def story(
            visitor: gr.Request,
            topic: str,
            ending: str,
            temperature: float = 0.7,
            max_tokens: int = LONGEST_STORY,
            ending_strength: float = 1.0,
            seed: int | None = None,
        ) -> AsyncIterator[dict[str, Any]]:
            """A story about `topic`, as far as it is told: `text`, `seed`, `tokens`, `complete`; before that,
            how many are told before it."""
            asked = (topic, ending, temperature, max_tokens, ending_strength, seed)
            async for news in tell(together, visitor, asked):
                if isinstance(news, Story):
                    yield asdict(news)

        event: Any = dict(api_visibility="private", show_progress="hidden")
        telling = gr.on(
            [generate.click, topic.submit],
            tell_first,
            asked,
            [first, told, *others, second],
            js=REMEMBER,
            **event,
        )
        telling_others = [
            button.click(tell_other(number), told, second, js=REMEMBER_TOLD, **event)
            for number, button in enumerate(others)
        ]
        for each in (telling, *telling_others):
            each.then(None, js=FORGET)
        stop.click(None, cancels=[telling, *telling_others], js=FORGET)
        gr.api(story)
        page.load(None, asked, [*asked, first], js=FILL).then(None, js=TELL_LINKED)
    return page


# Where the server is lost in the middle of a story, Gradio loads the page anew as soon as one answers. What
# was asked is kept for that, in this tab alone.
KEEP = 'try { sessionStorage.setItem("asked", JSON.stringify(asked)); } catch { /* cookies are blocked */ }'
REMEMBER = f"(...asked) => {{ {KEEP} return asked; }}"
REMEMBER_TOLD = f"(asked) => {{ {KEEP} return [asked]; }}"
FORGET = """() => { try { sessionStorage.removeItem("asked"); } catch {} }"""
BROKEN_OFF = "<p>The story broke off. Press <em>Tell the story</em> once more.</p>"

# A link's fragment stays in the browser: what a story is about reaches no log of a server.
FILL = f"""(...values) => {{
    const linked = new URLSearchParams(location.hash.slice(1));
    let kept = null;
    try {{ kept = sessionStorage.getItem("asked"); sessionStorage.removeItem("asked"); }} catch {{}}
    addEventListener("hashchange", () => location.reload());
    if (!linked.has("seed")) return kept ? [...JSON.parse(kept), {json.dumps(BROKEN_OFF)}] : [];
    return {json.dumps(NAMES)}.map((name, i) => {{
        const value = linked.get(name);
        return value === null ? values[i] : i < 2 ? value : Number(value);
    }}).concat("");
}}"""
TELL_LINKED = """() => { if (location.hash.includes("seed=")) document.querySelector("#tell").click(); }"""


def other_label(ending: str, endings: Sequence[str]) -> str:
    """Of the button that asks for another ending than was told; of two, there is only the other one."""
    return "The other ending" if len(endings) == 2 else f"{ending.capitalize()} ending"


def build_demo(
    together: Together, name: str, proxies: Networks = (), visitor_header: str = VISITOR_HEADER
) -> FastAPI:
    return build_server(
        build_page(together, name),
        together.is_alive,
        together.share,
        proxies,
        visitor_header,
        head=f"<style>{LOOK.read_text('utf-8')}</style>",
        theme=gr.themes.Base(
            primary_hue="amber",
            neutral_hue="stone",
            text_size="lg",
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
    )


def main(argv: list[str] | None = None) -> None:
    given = {option: value for name, option in ENVIRONMENT.items() if (value := os.environ.get(name))}
    host = given.get("--host", "localhost")
    if host != "localhost" and address_of(host) is None:  # as conda and tcsh set it
        print(f"note: HOST={host} is no address, and not taken; --host may name one", file=sys.stderr)
        del given["--host"]
    options = [f"{option}={value}" for option, value in given.items()]
    settings = parse(Settings, options + (sys.argv[1:] if argv is None else argv), __doc__)
    try:
        proxies = networks(settings.proxies)
    except ValueError as error:
        raise InputError(f"--proxies {settings.proxies}: {one_line(error)}") from error
    if not re.fullmatch(r"[A-Za-z0-9-]+", settings.visitor_header):
        raise InputError(f"--visitor-header {settings.visitor_header!r}: is no name of a header")
    listening = listen(settings.host, settings.port)
    name = settings.checkpoint or newest_checkpoint()
    model, how = open_model(name, settings.device)
    if not model.taught.endings:
        raise InputError(f"--checkpoint {name}: was taught no endings to choose from; use generate.py")
    first = Request(EXAMPLES[0], model.taught.endings[0], seed=0)
    tell_stories(model, [first], Sampling(max_new_tokens=FEWEST_TOKENS), choose_token)  # warms up
    together = Together(model, choose_token, settings.share)
    server = build_demo(together, name, proxies, settings.visitor_header)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"model {name} on {how}, http://{host}:{settings.port}", file=sys.stderr)
    serve(server, listening, together.is_alive, proxies)


if __name__ == "__main__":
    run(main)
