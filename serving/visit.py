"""What a visitor asks for, whatever came in; the story as it is told; how the page shows it."""

import html
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlencode

from common.endings import either
from common.errors import InputError
from common.seeds import new_seed
from inference.sampling import LARGEST_SEED, Sampling
from inference.stories import Model, Request, Story, encode_requests, longest_prompt
from inference.together import Together
from serving.jobs import gr

LONGEST_TOPIC = 500  # characters
TEMPERATURES = 0.1, 1.4
STRENGTHS = 0, 3
FEWEST_TOKENS = 20
LONGEST_STORY = 200  # tokens, if nothing else is asked for
PAUSE = 0.05  # seconds between two updates of a story, and as much more for every five that are told
NAMES = ("topic", "ending", "temperature", "max_tokens", "ending_strength", "seed")


def check_request(
    model: Model,
    topic: Any,
    ending: Any,
    temperature: Any = 0.7,
    max_tokens: Any = LONGEST_STORY,
    ending_strength: Any = 1.0,
    seed: Any = None,
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


async def tell(together: Together, visitor: gr.Request, asked: Sequence[Any]) -> AsyncIterator[Story | int]:
    """The place in the queue, then the story as far as it is told. `asked` is what `check_request` takes.

    Raises gr.Error, which the page and the API show.
    """
    try:
        request, sampling = check_request(together.model, *asked)
        with together.join(request, sampling, visitor.client.host) as telling:
            async for news in telling.news(PAUSE * (1 + together.count() / 5)):
                yield news
    except InputError as error:
        raise gr.Error(str(error).removeprefix("--")) from None


def card(asked: Sequence[Any], news: Story | int, seconds: float, is_told: bool = False) -> str:
    """A story, or the place in the queue, as HTML. A screen reader reads it when it is told."""
    _, ending, *_ = asked
    if isinstance(news, Story):
        link = urlencode(dict(zip(NAMES, [*asked[:-1], news.seed], strict=True)))
        body = f"<p>{html.escape(news.text)}</p>"
        note = f"{news.tokens} tokens, {news.tokens / seconds:,.0f} a second, " if is_told else ""
        foot = f'{note}<a href="#{html.escape(link)}">seed {news.seed}: the same story again</a>'
    else:
        body, foot = f"<p>Yours is told soon: number {news} in the queue.</p>", ""
    return (
        f'<article aria-live="polite" aria-busy="{str(not is_told).lower()}">'
        f"<h2>{html.escape(str(ending)).capitalize()} ending</h2>{body}<footer>{foot}</footer></article>"
    )
