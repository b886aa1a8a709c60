"""Where checkpoints are: those named by a user, those of the presets, the newest one here.

A run's folder holds best/, last/ and epoch_N/, each a checkpoint; int8/ beside them is made from one of them.
"""

import hashlib
import json
import sys
from contextlib import suppress
from pathlib import Path

from common import hub
from common.endings import ENDINGS_FILE
from common.errors import CheckpointError, InputError
from common.presets import PRESETS

STATE = "training_state.pt"  # of a run: what --resume needs
CHECKPOINT = ("model.safetensors", "config.json", "README.md", ENDINGS_FILE)  # what is written of one here
NAMED = ("model.safetensors", "pytorch_model.bin")  # one of these is taken before other files
SUFFIXES = (".safetensors", ".pt", ".pth")


def locate(path: str) -> Path:
    """The file with the weights of `path`, fetched if that names a repo on the Hub.

    `path` is a .pt or .safetensors file, a folder that holds one, or either on the Hub: common/hub.py.
    Raises CheckpointError.
    """
    place = Path(path)
    if hub.is_name(path) and not (path.count("/") == 1 and place.suffix in SUFFIXES):
        try:
            place = hub.fetch(path, "model", lambda files, file: _files_to_fetch(path, files, file))
        except InputError as error:
            raise CheckpointError(f"{error}; or name a checkpoint that is here with --checkpoint") from error
    if place.is_file():
        if place.name == STATE or not (place.suffix in SUFFIXES or place.name in NAMED):
            raise CheckpointError(f"{path}: not a checkpoint; expected a .pt or .safetensors file of weights")
        return place
    if not place.is_dir():
        raise CheckpointError(f"{path}: no such file or folder, and not a Hub id (namespace/name)")
    files = _weights_in(place)
    if len(files) != 1:
        found = ", ".join(sorted(file.name for file in files or place.iterdir())[:4]) or "nothing"
        raise CheckpointError(
            f"{path}: expected model.safetensors or a single .pt or .safetensors file in this folder, "
            f"found {found}; of a run, name best/, last/ or epoch_N/"
        )
    return files[0]


def _weights_in(folder: Path) -> list[Path]:
    names = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    return [folder / name for name in _weights_among(names)]


def _weights_among(names: list[str]) -> list[str]:
    """The first of NAMED, or else all that may be weights. (macOS leaves hidden ones beside a file.)"""
    for name in NAMED:
        if name in names:
            return [name]
    return [name for name in names if Path(name).suffix in SUFFIXES and name != STATE and name[0] != "."]


def _files_to_fetch(path: str, files: list[str], file: str) -> list[str]:
    """Of a folder of the Hub: `file`, or else the weights in it; and what belongs to them."""
    weights = [file] if file else _weights_among([name for name in files if "/" not in name])
    if len(weights) > 1:
        several = ", ".join(weights)
        raise CheckpointError(
            f"{path}: holds several checkpoints ({several}); name one, as in namespace/name/{weights[0]}"
        )
    return weights and [*weights, *sorted({"config.json", ENDINGS_FILE} & {*files})]


def base_checkpoint(model_size: str) -> str:
    """A preset's pre-trained model: checkpoints/pre_trained_gpt2-{size}/ if it is there, else published."""
    local = Path("checkpoints") / f"pre_trained_gpt2-{model_size}"
    return str(local) if local.is_dir() else PRESETS[model_size].base


def finetuned_checkpoint(model_size: str) -> str:
    """The fine-tuned model of a preset: best/, last/ or the highest epoch_N/ here, else the published one.

    Raises CheckpointError if there is none.
    """
    run = Path("checkpoints") / f"sft_{PRESETS[model_size].label}_model"
    if folders := checkpoints_of(run):
        return str(folders[0])
    if published := PRESETS[model_size].finetuned:
        return published
    raise CheckpointError(
        f"{run}: no fine-tuned {model_size} model; make one with finetune.py --model-size {model_size}, "
        "or name one with --checkpoint"
    )


def newest_checkpoint() -> str:
    """The checkpoint to take of that run in checkpoints/ or quickstart/ whose weights are newest.

    That is best/, last/ or the highest epoch_N/; or int8/, if it is of the same weights. Raises
    CheckpointError without a run.
    """
    runs = [*Path("checkpoints").glob("*"), Path("quickstart/model")]
    found = [folders for run in runs if (folders := checkpoints_of(run))]
    if not found:
        raise CheckpointError(
            "no fine-tuned model is here; make one with quickstart.py or finetune.py, or name one: "
            f"MODEL={PRESETS['30m'].finetuned}"
        )

    def when(folders: list[Path]) -> float:
        return max(file.stat().st_mtime for folder in folders for file in _weights_in(folder))

    newest = max(found, key=when)[0]
    int8 = newest.with_name("int8")
    if _weights_in(int8):
        with suppress(OSError, ValueError, KeyError):
            if json.loads((int8 / "int8.json").read_text("utf-8"))["sha256"] == sha256(locate(str(newest))):
                return str(int8)
        print(f"note: {int8} is not of {newest}; quantize.py --overwrite makes it anew", file=sys.stderr)
    return str(newest)


def sha256(file: Path) -> str:
    """By this, what was made of weights knows them again."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def checkpoints_of(run: Path) -> list[Path]:
    """best/, last/ and epoch_N/ of a run, as far as they hold weights, the one to take first."""
    epochs = sorted(run.glob("epoch_*"), key=lambda path: (len(path.name), path.name), reverse=True)
    return [path for path in (run / "best", run / "last", *epochs) if _weights_in(path)]


def beside(checkpoint: str, output: str | None, name: str) -> Path:
    """Where what is made of a checkpoint is written: `output`, or else the folder `name` beside that of the
    checkpoint. Raises InputError if there is no such place, or it is the checkpoint's own."""
    path = Path(checkpoint)
    if output is None and hub.is_name(checkpoint):
        raise InputError(f"--output: none given for {checkpoint}; name a folder to write")
    source = (path if path.is_dir() else path.parent).resolve()
    folder = source.parent / name if output is None else Path(output)
    if folder.resolve() == source:
        raise InputError(f"--output {folder}: is where the checkpoint lies; name another")
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
