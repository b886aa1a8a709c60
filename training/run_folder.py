"""The folder of a run: what is in it, who may write to it, what a run begins with and goes on from.

    epoch_N/  best/  last/     checkpoints, each a folder that any script takes
    training_state.pt          weights, optimiser and progress: all that --resume needs
    run.json                   settings, versions, data and host
    metrics.jsonl              a line a logged step
    stories/  tensorboard/  loss.png       to look at (monitor.py)

Checkpoints are written first and the state last, so whatever was being done when a run was killed is done
again from the state, with the same result. What a new run replaces lies in a hidden folder until its first
state is whole; if it never is, all is as it was before.
"""

import json
import math
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from common import hub
from common.checkpoints import CHECKPOINT, STATE, base_checkpoint, checkpoints_of, locate
from common.cli import option
from common.errors import InputError, one_line, only_shown
from common.files import (
    TEMPORARY,
    locked,
    make_writable,
    move_files,
    refuse_lfs_pointer,
    remove_leftovers,
    whole_file,
    whole_folder,
    write_text,
)
from common.presets import PRESETS, ModelConfig
from dataset import InstructionDataset, endings_of, load_data, read_topics, taught
from model import GPT2, load_model
from sharing.cards import model_card
from training.optimizer import Optimizer

Examples = dict[str, InstructionDataset]  # by split

# Settings that change where, when or how much is computed and written, not what: free to differ on --resume.
# (Of --data it is the examples that are compared.)
FREE = {
    *("data", "output", "overwrite", "resume", "epochs", "max_steps", "save_every", "save_minutes"),
    *("log_every", "stories", "tensorboard", "push_to_hub", "device", "micro_batch_tokens", "compile"),
    *("keep_epochs", "push_every", "dry_run"),
}

WRITTEN = (  # into a run's folder, by finetune.py and quantize.py
    *(STATE, "run.json", "metrics.jsonl", "loss.png"),
    *("stories/step_*.txt", "tensorboard/events.*", "int8/int8.json"),
    *(f"{folder}/{name}" for folder in ("best", "last", "epoch_*", "int8") for name in CHECKPOINT),
)
REPLACED = ".replaced"  # where the old run is until the new one is saved


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
    skipped: int = 0  # steps, in float16
    skipped_in_a_row: int = 0  # of them, up to the last step


@contextmanager
def claimed(output: Path, resume: bool, overwrite: bool) -> Iterator[None]:
    """Within the block, the folder is this process's. A run that was never saved leaves nothing behind.

    Raises InputError if the folder cannot be written, or holds what is not to be touched.
    """
    is_new = not output.exists()
    make_writable(output)
    try:
        with locked(output / ".lock", f"--output {output}"):
            _settle(output)
            files = [path.name for path in output.iterdir() if path.name[0] != "."]
            if files and "run.json" not in files:
                raise InputError(f"--output {output}: holds files, but no run.json: no run; name another")
            if files and not resume and not overwrite:
                raise InputError(
                    f"--output {output}: holds a run already; go on with it by --resume, replace it by "
                    "--overwrite, or name another"
                )
            if resume and STATE not in files and checkpoints_of(output):
                raise InputError(
                    f"--resume: {output} holds checkpoints, but no {STATE} to go on from; copy it "
                    "back, or start anew with --overwrite or another --output"
                )
            remove_leftovers(output)
            try:
                yield
            finally:
                _settle(output)
    finally:
        if is_new:
            with suppress(OSError):  # if it is not empty, it stays
                output.rmdir()


def _settle(output: Path) -> None:
    """End what `begin` began: what a run replaced goes if it was saved, else it comes back."""
    replaced = output / REPLACED
    if replaced.exists():
        if not (output / STATE).exists():
            _remove(output, WRITTEN)
            move_files(replaced, output, ["**/*"])
        shutil.rmtree(replaced)


def _remove(output: Path, names: Sequence[str]) -> None:
    removed = output / f".removed{TEMPORARY}"
    move_files(output, removed, names)
    shutil.rmtree(removed, ignore_errors=True)


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
        if file.resolve().is_relative_to(output.resolve()):
            raise InputError(
                f"--checkpoint {name}: lies in --output {output}, which a new run replaces; name another"
            )
        base = hub.origin(name, file.parent)
        model = load_model(file, device)
        preset = asdict(PRESETS[settings.model_size].config) | {"dropout_rate": model.config.dropout_rate}
        if settings.checkpoint and settings.output is None and asdict(model.config) != preset:
            raise InputError(
                f"--checkpoint {name}: is no {settings.model_size}, whose folder {output} is; add --output"
            )
        if model.is_int8:
            raise InputError(f"--checkpoint {name}: int8 weights cannot be trained; name those they are of")
    context = model.config.context_length
    max_length = settings.max_length or context
    if max_length > context:
        raise InputError(f"--max-length {max_length}: the model reads at most {context} tokens")
    data, origin = load_data(settings.data)
    model.taught = taught(endings_of(data))
    examples: Examples = {}
    for split, rows in data.items():
        read_topics(rows, model.taught.endings)  # raises InputError if a prompt is another than is made here
        examples[split] = InstructionDataset(split, max_length, data=data, vocab_size=model.config.vocab_size)
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
        | {"endings": model.taught.endings}
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
        return json.loads(file.read_text("utf-8")) if file.exists() else None
    except ValueError as error:
        raise InputError(f"{file}: damaged; start anew with --overwrite ({one_line(error)})") from error


def total_steps(run: dict[str, Any]) -> int:
    """Optimiser steps of a whole run, by its run.json."""
    settings = run["settings"]
    an_epoch = math.ceil(run["data"]["train"]["examples"] / settings["batch_size"])
    steps: int = an_epoch * (settings["epochs"] or PRESETS[settings["model_size"]].epochs)
    return min(steps, settings["max_steps"] or steps)


def refuse_changes(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Raises InputError, with the list of differences, if a run was not begun as it would go on."""
    names = (old["settings"].keys() | new["settings"].keys()) - FREE
    changes = [
        f"{option(name)} was {old['settings'].get(name)}, now {new['settings'].get(name)}"
        for name in sorted(names)
        if (old["settings"].get(name) or None) != (new["settings"].get(name) or None)
    ]
    if new["settings"]["schedule"] == "cosine" and total_steps(old) != total_steps(new):
        changes.append(
            f"--schedule cosine was laid out for {total_steps(old):,} steps, now {total_steps(new):,}: give "
            "the same --epochs and --max-steps, or begin a run with --checkpoint"
        )
    for split in ("train", "validation"):
        before, now = (run["data"].get(split, {}).get("fingerprint") for run in (old, new))
        if before != now:
            changes.append(f"--data holds other examples for {split} (fingerprint {before}, now {now})")
    if changes:
        raise InputError(f"--resume: the run was begun otherwise: {'; '.join(changes)}")


def begin(output: Path, run: dict[str, Any], anew: bool) -> None:
    """Write run.json; if nothing is gone on with, first put aside what is there."""
    if anew:
        (output / REPLACED).mkdir()
        move_files(output, output / REPLACED, WRITTEN)
    with whole_file(output / "run.json") as file:
        write_text(file, json.dumps(run, indent=2) + "\n")


def save(
    output: Path,
    checkpoints: Sequence[str],
    run: dict[str, Any],
    model: GPT2,
    optimizer: Optimizer,
    progress: Progress,
) -> None:
    """Write the checkpoints of these names, each a folder that appears whole, and then training_state.pt. Of
    epoch_N, as many are kept as the settings say.

    Raises InputError if the run's folder has vanished, or a weight is not finite.
    """
    if not output.is_dir():
        raise InputError(f"--output {output}: has vanished, with all that was saved in it")
    if not all(weight.isfinite().all() for weight in model.parameters()):
        raise InputError(f"step {progress.step}: the weights are not finite; lower --lr")
    card = ""
    with only_shown("the checkpoint's card"):
        card = model_card(run, read_metrics(output), progress.step)
    for name in checkpoints:
        with whole_folder(output / name, CHECKPOINT) as temporary:
            write_text(temporary / "README.md", card)
            model.save_pretrained(temporary)
    state = {
        "model": model.state_dict(),
        "progress": asdict(progress),
        **optimizer.state_dict(),
    }
    with whole_file(output / STATE) as file, open(file, "wb") as handle:
        try:
            torch.save(state, handle)
        except RuntimeError as error:  # torch's own, on top of what a full disk said
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None
    _settle(output)
    if (keep := run["settings"]["keep_epochs"]) is not None:
        epochs = [folder.name for folder in checkpoints_of(output) if folder.name.startswith("epoch_")]
        for name in epochs[keep:]:  # the highest come first
            _remove(output, [f"{name}/{file}" for file in CHECKPOINT])


def load_state(output: Path) -> dict[str, Any] | None:
    """The training_state.pt that `save` wrote, if it is there. Raises InputError if it is damaged."""
    file = output / STATE
    if not file.exists():
        return None
    refuse_lfs_pointer(file)
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        state["progress"] = Progress(**state["progress"])
    except Exception as error:  # pickle, zip and torch raise many unrelated kinds
        raise InputError(f"{file}: damaged; start anew with --overwrite ({one_line(error)})") from error
    return state


def rebuild(run: dict[str, Any], state: dict[str, Any]) -> GPT2:
    """The model of a run, with the weights of its training state, which are taken out of it."""
    model = GPT2(**{field.name: run["model"][field.name] for field in fields(ModelConfig)})
    model.load_state_dict(state.pop("model"))
    return model


def read_metrics(output: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl."""
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text("utf-8").splitlines()]
