"""Write a file of stories as somebody would bring their own: JSON Lines with three endings.

    uv run python -m samples.write_stories --output data/stories.jsonl

Each line is {"topic": ..., "ending": ..., "story": ...}, of a plot that can end in each of the ways.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path

from common.cli import parse, run, setting
from common.files import whole_file, write_text
from samples.plots import plots, shared
from samples.story_grammar import Tale, tell


@dataclass(frozen=True)
class Settings:
    output: str = setting("data/stories.jsonl", "file to write; one there is replaced")
    stories: int = setting(3_000, "lines in the file", at_least=1)
    seed: int = setting(0, "seed of the stories", at_least=0)


def tell_any(rng: random.Random) -> Tale:
    """A tale of any ending, of a plot that has them all."""
    endings = tuple(shared()["endings"])
    names = {plot.name for plot in plots() if plot.endings.keys() == {*endings}}
    ending = rng.choice(endings)
    while (tale := tell(rng, ending)).plot not in names:
        pass
    return tale


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    rng = random.Random(settings.seed)
    tales = (tell_any(rng) for _ in range(settings.stories))
    lines = ({"topic": tale.summary, "ending": tale.ending, "story": tale.story} for tale in tales)
    with whole_file(Path(settings.output)) as file:
        write_text(file, "".join(json.dumps(line) + "\n" for line in lines))
    print(f"{settings.stories:,} stories written to {settings.output}")


if __name__ == "__main__":
    run(main)
