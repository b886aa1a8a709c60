"""The prompt as programs that chat make it: a user's last message is the topic, the last system message the
ending, whatever was said before."""

import json
import re
from collections.abc import Sequence

from dataset import format_instruction

TOPIC, ENDING = "\0topic\0", "\0ending\0"


def _pieces(endings: Sequence[str], topic: str, ending: str) -> list[str]:
    """Of the prompt: texts, quoted, and these two where the topic and the ending stand."""
    prompt = format_instruction(TOPIC, ENDING, endings=(ENDING,)) if endings else TOPIC
    names = {TOPIC: topic, ENDING: ending}
    found = re.split(f"({TOPIC}|{ENDING})", prompt)
    return [names.get(piece) or json.dumps(piece) for piece in found if piece]


def jinja(endings: Sequence[str]) -> str:
    """For transformers, llama.cpp and LM Studio."""
    ending = json.dumps(endings[0] if endings else "")
    return (
        f'{{%- set asked = namespace(topic="", ending={ending}) -%}}'
        "{%- for message in messages -%}"
        "{%- if message.role == 'system' -%}{%- set asked.ending = message.content | trim -%}"
        "{%- elif message.role == 'user' -%}{%- set asked.topic = message.content | trim -%}"
        "{%- endif -%}{%- endfor -%}"
        f"{{{{- {' ~ '.join(_pieces(endings, 'asked.topic', 'asked.ending'))} -}}}}"
    )


def ollama(endings: Sequence[str]) -> str:
    """In the language of Go's text/template."""
    ending = json.dumps(endings[0] if endings else "")
    pieces = _pieces(endings, "{{ $topic }}", "{{ $ending }}")
    return (
        f'{{{{ $topic := "" }}}}{{{{ $ending := {ending} }}}}{{{{ range .Messages }}}}'
        '{{ if eq .Role "system" }}{{ $ending = .Content }}'
        '{{ else if eq .Role "user" }}{{ $topic = .Content }}{{ end }}{{ end }}'
        + "".join(json.loads(piece) if piece.startswith('"') else piece for piece in pieces)
    )
