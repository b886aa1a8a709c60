"""A fine-tuned model as other programs take it.

    uv run python export.py --format transformers                 # your checkpoints/sft_30M_model/best
    uv run python export.py --checkpoint mine/best --format gguf --push-to-hub you/my-stories-GGUF

`transformers`: a folder that transformers opens without code of ours, and whatever reads what that writes.
`gguf`: files for llama.cpp, Ollama, LM Studio and wllama, and a Modelfile for Ollama. Neither GPT-2 has a
bias behind its output layer: exporting/fold.py. What `transformers` wrote is a checkpoint here, too.

`page`: the demo as a folder of files for any web server, with int8 weights.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import hub
from common.checkpoints import beside, finetuned_checkpoint, locate, sha256
from common.cli import parse, run, setting
from common.endings import write_taught
from common.errors import InputError
from common.files import claimed_folder, write_text
from common.presets import PRESETS
from dataset import check_prompt
from exporting import gguf_files, page_folder, transformers_folder
from exporting.fold import folded
from model import load_model
from sharing.cards import export_card
from sharing.push import check_write_access, push

MADE = "export.json"  # by which a folder is known to be one of ours
WRITTEN = {
    "transformers": (
        *(MADE, "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
        *("model.safetensors", "endings.json", "README.md"),
    ),
    "gguf": (
        *(MADE, "Modelfile", "template", "params", "README.md"),
        *(f"*-{kind}.gguf" for kind in gguf_files.KINDS),
    ),
    "page": ("model.json", *page_folder.COPIED, "gpt2.tiktoken", "model.safetensors", "README.md"),
}


@dataclass(frozen=True)
class Settings:
    format: str = setting("transformers", "what for", choices=tuple(WRITTEN))
    model_size: str = setting("30m", "which model, if --checkpoint is not given", choices=tuple(PRESETS))
    checkpoint: str | None = setting(None, "a folder, a .pt or .safetensors file, a Hub id")
    output: str | None = setting(None, "folder to write; default: named as the format, beside the checkpoint")
    overwrite: bool = setting(False, "replace what was exported there")
    push_to_hub: str | None = setting(None, "the repo to send it to, namespace/name; default: none")


def name_of(checkpoint: str, push_to_hub: str | None) -> str:
    """What the model is called: by its repo, else by its run's folder."""
    if push_to_hub:
        return re.sub(r"-gguf$", "", push_to_hub.rpartition("/")[2], flags=re.I)
    if hub.is_name(checkpoint):
        return hub.parts(checkpoint).repo_id.rpartition("/")[2]
    path = Path(checkpoint).resolve()
    path = path.parent if path.is_file() else path
    path = path.parent if re.fullmatch(r"best|last|epoch_\d+|int8|transformers", path.name) else path
    return re.sub(r"[^\w.-]+", "-", path.name)


def export(checkpoint: str, file: Path, folder: Path, format: str, name: str, repo: str | None) -> None:
    """Write the model in `file` into an empty folder. Raises InputError, and CheckpointError if it cannot be
    read."""
    model = load_model(file)
    check_prompt(model.taught)
    if format == "page":
        page_folder.write(folder, name, model)
        return
    if model.is_int8:
        raise InputError(f"--checkpoint {checkpoint}: has int8 weights; name those that it was made from")
    if format == "gguf":
        gguf_files.write(folder, name, folded(model), model.config, model.taught.endings)
    else:
        transformers_folder.write(folder, folded(model), model.config, model.taught.endings)
        write_taught(folder, model.taught)
    made: dict[str, Any] = hub.origin(checkpoint, file.parent) | {"sha256": sha256(file), "format": format}
    made["endings"] = model.taught.endings
    write_text(folder / MADE, json.dumps(made, indent=2) + "\n")
    write_text(folder / "README.md", export_card(made, name, repo))


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    checkpoint = settings.checkpoint or finetuned_checkpoint(settings.model_size)
    output = beside(checkpoint, settings.output, settings.format)
    if settings.push_to_hub is not None and settings.format == "page":
        raise InputError("--push-to-hub: a page is for a static Space, or any host; see deploy/README.md")
    file = locate(checkpoint)
    if settings.push_to_hub is not None:
        check_write_access(settings.push_to_hub, "model")
    name = name_of(checkpoint, settings.push_to_hub)
    with claimed_folder(output, settings.overwrite, WRITTEN[settings.format], "an export") as folder:
        export(checkpoint, file, folder, settings.format, name, settings.push_to_hub)
    for file in sorted(output.iterdir()):
        print(f"{file.stat().st_size:>13,}  {file}")
    if settings.push_to_hub is not None:
        push(output, settings.push_to_hub, "model")


if __name__ == "__main__":
    run(main)
