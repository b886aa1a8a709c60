"""A folder of static files: the demo without a server, the model in the visitor's browser.

What is in page/ is copied as it is. page/engine.wasm is inference/engine.c, made by

    uv run --group compilers python -m exporting.page_folder
"""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import safetensors.torch

from common.errors import InputError
from common.files import write_text
from common.int8 import quantize
from dataset import RANKS_FILE, taught
from inference.compile import FLAGS, SOURCE
from inference.engine import MOST_COLS
from model import GPT2

PAGE = Path(__file__).with_name("page")
EXPORTED = ("engine_step", "engine_scratch", "__heap_base")  # of the engine
OF_THE_MODEL = ("engine.wasm", "gpt2.tiktoken", "model.safetensors")  # which the page checks by their hashes
COPIED = ("index.html", "page.css", "page.js", "teller.js", "offline.js", "icon.svg", "engine.wasm")
CARD = """---
title: Tiny Tales
emoji: 🎈
colorFrom: yellow
colorTo: indigo
sdk: static
license: mit
short_description: Children's stories that end as you say
---

Say what a story is about and how it ends; a small GPT-2 tells it, in your browser.
"""


def write(folder: Path, name: str, model: GPT2) -> None:
    """Weights are int8; others are rounded. Raises InputError if the model has no endings to choose from."""
    if not model.taught.endings:
        raise InputError("--format page: the model was taught no endings to choose from")
    if max(4 * model.config.embedding_dim, model.config.context_length) > MOST_COLS:
        raise InputError(f"--format page: the engine takes no model of this shape: {model.config}")
    if not model.is_int8:
        quantize(model)
    for file in COPIED:
        shutil.copyfile(PAGE / file, folder / file)
    ranks = RANKS_FILE.read_bytes().replace(b"\r\n", b"\n").splitlines(keepends=True)
    (folder / "gpt2.tiktoken").write_bytes(b"".join(ranks[: model.config.vocab_size - 1]))
    (folder / "model.safetensors").write_bytes(safetensors.torch.save(model.state_dict()))
    told = {
        "name": name,
        "config": asdict(model.config),
        "endings": model.taught.endings,
        "prompt": taught(model.taught.endings).prompt,
        "files": {file: _described(folder / file) for file in OF_THE_MODEL},
    }
    write_text(folder / "model.json", json.dumps(told, ensure_ascii=False, indent=2) + "\n")
    write_text(folder / "README.md", CARD)


def _described(file: Path) -> dict[str, object]:
    content = file.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def build_wasm(to: Path) -> None:
    """The engine as WebAssembly with SIMD and without anything to import: by zig, one version of which always
    makes the same bytes."""
    target = ["-target", "wasm32-wasi", "-mcpu=generic+simd128+bulk_memory", "-mexec-model=reactor"]
    linked = ["--no-entry", "--strip-all", *(f"--export={name}" for name in EXPORTED)]
    flags = [flag for flag in FLAGS if flag not in ("-fPIC", "-shared")]
    zig = [sys.executable, "-m", "ziglang", "cc"]
    command = [*zig, *target, *flags, *(f"-Wl,{each}" for each in linked), str(SOURCE), "-o", str(to)]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    build_wasm(PAGE / "engine.wasm")
