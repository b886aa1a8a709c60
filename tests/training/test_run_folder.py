"""A run's folder that cannot be written, or no longer."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import finetune
from clean_environment import ROOT
from hub_user import complaint_of
from small_disk import on_a_disk
from trainee import flat, resumed, state
from training.trainer import Trainer


def test_a_folder_that_vanishes_gets_one_clear_line(
    arguments: list[str], tmp_path: Path, complaint: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "run"

    make_step = Trainer.step

    def removed_at_step_3(trainer: Trainer, step: int, *others: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if step == 3:
            shutil.rmtree(output)
        return make_step(trainer, step, *others)

    monkeypatch.setattr(Trainer, "step", removed_at_step_3)
    line = complaint(finetune.main, *arguments, "--output", output, "--save-every", "1")
    assert f"{output}: has vanished" in line
    assert not output.exists()


def train_on_a_disk(arguments: list[str], output: Path, options: str) -> str:
    """The one line with which finetune.py ends when the folder of `output` is a disk of its own."""
    script = [sys.executable, str(ROOT / "finetune.py")]
    command = [*on_a_disk(output.parent, options), *script, *arguments, "--output", str(output)]
    return complaint_of(subprocess.run(command, capture_output=True, text=True, timeout=120))


@pytest.mark.usefixtures("disks")
def test_a_full_disk_gets_one_clear_line_and_leaves_the_older_checkpoint(
    arguments: list[str], tmp_path: Path
) -> None:
    reference, kept = tmp_path / "reference", tmp_path / "kept" / "run"
    given = [*arguments, "--stories", "0", "--save-every", "2", "--schedule", "constant"]
    resumed(given, reference, "--max-steps", "2")
    # Room for all files, and for a new one of each checkpoint but not of the state.
    weights = (reference / "last" / "model.safetensors").stat().st_size
    size = (reference / "training_state.pt").stat().st_size + 4 * weights
    line = train_on_a_disk([*given, "--max-steps", "4"], tmp_path / "disk" / "run", f"size={size // 1024}k")
    assert "no room on the disk" in line
    found, expected = (flat(state(run)["model"]) for run in (kept, reference))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not list(kept.glob(".*"))


@pytest.mark.usefixtures("disks")
def test_a_read_only_folder_gets_one_clear_line(arguments: list[str], tmp_path: Path) -> None:
    output = tmp_path / "disk" / "run"
    line = train_on_a_disk(arguments, output, "ro")
    assert f"--output: {output} cannot be written (Read-only file system)" in line
