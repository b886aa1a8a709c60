"""The folder of a run: what is in it, who may write to it, what a run begins with and goes on from.

    epoch_N/  best/  last/     checkpoints, each a folder that any script takes
    training_state.pt          weights, optimiser and progress: all that --resume needs
    run.json                   settings, versions, data and host
    metrics.jsonl              a line a logged step
    stories/  tensorboard/  loss.png       to look at (monitor.py)

Checkpoints are written first and the state last, so whatever was being done when a run was killed is done
again from the state, with the same result.
"""

import json
import math
import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from common import hub
from common.checkpoints import base_checkpoint, locate
from common.cli import option
from common.errors import InputError
from common.files import make_writable, remove_leftovers, whole_file, whole_folder
from common.presets import ModelConfig
from dataset import InstructionDataset, default_data, load_data, locate_data
from model import GPT2, load_model
from sharing.cards import model_card

Examples = dict[str, InstructionDataset]  # by split

# Settings that change where, when or how much is computed and written, not what: free to differ on --resume.
# (Of --data it is the examples that are compared.)
FREE = {
    *("data", "output", "overwrite", "resume", "epochs", "max_steps", "save_every", "save_minutes"),
    *("log_every", "stories", "tensorboard", "push_to_hub", "device", "micro_batch_tokens", "compile"),
}


@dataclass
class Progress:
    """How far a run has come: with weights and optimiser, all that the next step depends on."""

    step: int = 0  # optimiser steps done
    validated: int = 0  # the step of the last validation
    best: float = math.inf  # validation loss
    metrics_size: int = 0  # of metrics.jsonl when this was saved, bytes
    # Over all processes, since the last line of metrics.jsonl:
    loss: float = 0.0  # nats, summed
    supervised: int = 0  # tokens
    useful: int = 0  # tokens that are no padding
    padded: int = 0  # tokens with padding


def claim(output: Path, resume: bool, overwrite: bool) -> None:
    """Raises InputError if the folder cannot be written, or holds a run that is not to be touched."""
    files = [path.name for path in output.iterdir() if path.name[0] != "."] if output.is_dir() else []
    if files and resume and "run.json" not in files:
        raise InputError(f"--resume: {output} holds files, but no run.json; name the folder of a run")
    if files and not resume and not overwrite:
        raise InputError(
            f"--output {output}: holds a run already; go on with it by --resume, replace it by --overwrite, "
            "or name another"
        )
    make_writable(output)


def load_run(
    settings: Any, output: Path, device: torch.device
) -> tuple[GPT2, Examples, dict[str, Any], dict[str, Any] | None]:
    """Model, examples, what run.json is to hold, and the state to go on from: None at the start of a run.

    `settings` are those of finetune.py. Raises InputError if they do not fit the model, or the run in
    `output` that is to go on.
    """
    begun = read_run(output) if settings.resume else None
    state = load_state(output) if begun else None
    if begun and state:
        base, model = begun["base"], rebuild(begun, state).to(device)
    else:
        name = base_checkpoint(settings.model_size) if settings.checkpoint is None else settings.checkpoint
        file = locate(name)
        base = hub.origin(name, file.parent)
        model = load_model(file, device)
        if model.is_int8:
            raise InputError(f"--checkpoint {name}: int8 weights cannot be trained; name those they are of")
    context = model.config.context_length
    max_length = settings.max_length or context
    if max_length > context:
        raise InputError(f"--max-length {max_length}: the model reads at most {context} tokens")
    source = default_data() if settings.data is None else settings.data
    folder = locate_data(source)
    data = load_data(source, folder)
    examples: Examples = {
        split: InstructionDataset(split, max_length, data=data, vocab_size=model.config.vocab_size)
        for split in ("train", "validation")
        if split in data
    }
    origin = hub.origin(source, folder)
    report = describe(settings, model, base, origin, examples)
    if begun:
        refuse_changes(begun, report)
    return model, examples, report, state


def describe(
    settings: Any, model: GPT2, base: dict[str, Any], data: dict[str, Any], examples: Examples
) -> dict[str, Any]:
    """What run.json holds: all that is needed to tell how a model came about."""
    return {
        "settings": asdict(settings),
        "base": base,
        "model": asdict(model.config) | {"parameters": sum(p.numel() for p in model.parameters())},
        "data": data
        | {
            split: {"examples": len(rows), "fingerprint": rows.fingerprint}
            for split, rows in examples.items()
        },
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "host": {
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "gpu": torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else None,
        },
    }


def read_run(output: Path) -> dict[str, Any] | None:
    """run.json, if there is one."""
    file = output / "run.json"
    try:
        return json.loads(file.read_text()) if file.exists() else None
    except ValueError as error:
        raise InputError(f"{file}: damaged ({error}); start anew with --overwrite") from error


def refuse_changes(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Raises InputError, with the list of differences, if a run was not begun as it would go on."""
    names = (old["settings"].keys() | new["settings"].keys()) - FREE
    changes = [
        f"{option(name)} was {old['settings'].get(name)}, now {new['settings'].get(name)}"
        for name in sorted(names)
        if old["settings"].get(name) != new["settings"].get(name)
    ]
    for split in ("train", "validation"):
        before, now = (run["data"].get(split, {}).get("fingerprint") for run in (old, new))
        if before != now:
            changes.append(f"--data holds other examples for {split} (fingerprint {before}, now {now})")
    if changes:
        raise InputError(f"--resume: the run was begun otherwise: {'; '.join(changes)}")


def begin(output: Path, run: dict[str, Any], resume: bool) -> None:
    """Write run.json; first remove what an earlier run left, or what a killed one was writing."""
    remove_leftovers(output)
    if not resume:  # the state first: without it nobody goes on with a run that is half removed
        for name in ("training_state.pt", "loss.png"):
            (output / name).unlink(missing_ok=True)
        written = [output / name for name in ("best", "last", "stories", "tensorboard")]
        for folder in (*output.glob("epoch_*"), *written):
            shutil.rmtree(folder, ignore_errors=True)
    with whole_file(output / "run.json") as file:
        file.write_text(json.dumps(run, indent=2) + "\n")


def save(
    output: Path,
    checkpoints: Sequence[str],
    run: dict[str, Any],
    model: GPT2,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Write the checkpoints of these names, each a folder that appears whole, and then training_state.pt.

    Raises InputError if the run's folder has vanished.
    """
    if not output.is_dir():
        raise InputError(f"--output {output}: has vanished, with all that was saved in it")
    card = model_card(run, read_metrics(output), progress.step)
    for name in checkpoints:
        with whole_folder(output / name) as temporary:
            (temporary / "README.md").write_text(card)
            model.save_pretrained(temporary)
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
    }
    with whole_file(output / "training_state.pt") as file, open(file, "wb") as handle:
        try:
            torch.save(state, handle)
        except RuntimeError as error:  # torch's own, on top of what a full disk said
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def load_state(output: Path) -> dict[str, Any] | None:
    """The training_state.pt that `save` wrote, if it is there. Raises InputError if it is damaged."""
    file = output / "training_state.pt"
    if not file.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        state["progress"] = Progress(**state["progress"])
    except Exception as error:  # pickle, zip and torch raise many unrelated kinds
        raise InputError(f"{file}: damaged ({error}); start anew with --overwrite") from error
    return state


def rebuild(run: dict[str, Any], state: dict[str, Any]) -> GPT2:
    """The model of a run, with the weights of its training state, which are taken out of it."""
    model = GPT2(**{field.name: run["model"][field.name] for field in fields(ModelConfig)})
    model.load_state_dict(state.pop("model"))
    return model


def read_metrics(output: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl."""
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
