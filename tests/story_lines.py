"""Somebody's own stories as JSON Lines."""

import json
from collections.abc import Sequence
from pathlib import Path

THREE = ("funny", "happy", "sad")
Lines = Sequence[dict[str, str]]


def write(file: Path, lines: Lines) -> Path:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def read(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text().splitlines()]
