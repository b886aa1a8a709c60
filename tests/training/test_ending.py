"""However a run ends, what it did is saved, and what was there before is not lost."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils import tensorboard

import finetune
from common.files import locked
from common.signals import Ended
from trainee import outcome, resumed, state, train
from training import monitor, run_folder, trainer

BAR = ("update", "write", "set_postfix_str", "close")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, arguments: list[str]) -> Path:
    output = tmp_path_factory.mktemp("whole") / "run"
    resumed(arguments, output)
    return output


def test_a_signal_while_stories_are_told_saves_and_they_are_told_again(
    arguments: list[str], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "run"
    with monkeypatch.context() as patch:
        choose = finetune.choose_token

        def signalled(*given: object) -> torch.Tensor:
            signal.raise_signal(signal.SIGTERM)
            return choose(*given)  # type: ignore[arg-type]

        patch.setattr(finetune, "choose_token", signalled)
        with pytest.raises(Ended):
            resumed(arguments, output)
    assert state(output)["progress"]["validated"] == 0 < state(output)["progress"]["step"]
    assert not (output / "stories").exists()
    resumed(arguments, output)
    assert outcome(output) == outcome(whole)


def test_an_error_saves_first_and_says_so(
    arguments: list[str], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "run"
    with monkeypatch.context() as patch:
        indices = trainer.step_indices

        def failing(*given: int) -> list[int]:
            if given[3] == 3:
                raise RuntimeError("out of luck")
            return indices(*given)

        patch.setattr(trainer, "step_indices", failing)
        with pytest.raises(RuntimeError, match="out of luck") as error:
            resumed([*arguments, "--save-every", "99"], output)
    assert "saved after step 3; go on with uv run" in error.value.__notes__[0]
    resumed(arguments, output)
    assert outcome(output) == outcome(whole)


@pytest.mark.parametrize("shown", ["tell", "bar", "card", "picture", "board"])
def test_what_only_shows_something_never_ends_a_run(
    shown: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"no {shown}")

    if shown == "bar":
        monkeypatch.setattr(monitor, "tqdm", lambda **_: SimpleNamespace(**dict.fromkeys(BAR, broken)))
    places = {
        "tell": (finetune, "tell_stories"),
        "card": (run_folder, "model_card"),
        "board": (tensorboard, "SummaryWriter"),
    }
    if shown in places:
        monkeypatch.setattr(*places[shown], broken)
    if shown == "picture":
        monkeypatch.setattr(monitor, "read_metrics", broken)
    resumed([*arguments, "--tensorboard"], tmp_path / "run")
    assert state(tmp_path / "run")["progress"]["step"] == 12


def test_weights_that_are_not_finite_are_not_saved_and_the_old_run_comes_back(
    arguments: list[str], whole: Path, tmp_path: Path, complaint: Callable
) -> None:
    output = tmp_path / "run"
    resumed(arguments, output, "--max-steps", "1", "--schedule", "constant")
    before = outcome(output)
    given = [*arguments, "--output", output, "--overwrite", "--lr", "1e30", "--warmup-steps", "0"]
    line = complaint(finetune.main, *given, "--grad-clip", "0", "--save-every", "99")
    assert "nothing was saved" in line
    assert outcome(output) == before
    assert not list(output.glob(".*"))


def test_a_run_that_was_never_saved_leaves_nothing(arguments: list[str], tmp_path: Path) -> None:
    output = tmp_path / "run"
    process = train(*arguments, "--output", output, "--lr", "1e30", "--grad-clip", "0", "--save-every", "99")
    assert process.finish().returncode == 2
    assert not output.exists()


def test_overwrite_removes_what_a_run_wrote_and_nothing_else(
    arguments: list[str], tmp_path: Path, complaint: Callable
) -> None:
    novel = tmp_path / "novel"
    (novel / "best").mkdir(parents=True)
    (novel / "best" / "photo.jpg").write_text("precious")
    assert "no run" in complaint(finetune.main, *arguments, "--output", novel, "--overwrite")
    output = tmp_path / "run"
    resumed(arguments, output, "--max-steps", "2", "--schedule", "constant")
    (output / "stories" / "novel.txt").write_text("precious")
    (output / "int8").mkdir()
    (output / "int8" / "int8.json").write_text("{}")
    line = complaint(
        finetune.main, *arguments, "--checkpoint", output / "last", "--output", output, "--overwrite"
    )
    assert "last: lies in --output" in line
    finetune.main([*arguments, "--output", str(output), "--overwrite", "--max-steps", "1"])
    assert (output / "stories" / "novel.txt").read_text() == "precious"
    assert not (output / "int8").exists()
    assert state(output)["progress"]["step"] == 1
    assert not list(output.glob(".*"))


def test_one_process_at_a_time_writes_in_a_folder(
    arguments: list[str], tmp_path: Path, complaint: Callable
) -> None:
    output = tmp_path / "run"
    output.mkdir()
    with locked(output / ".lock", "a test"):
        assert "another process is writing there" in complaint(finetune.main, *arguments, "--output", output)
    finetune.main([*arguments, "--output", str(output), "--max-steps", "1"])


def test_checkpoints_without_their_state_are_not_begun_anew(
    arguments: list[str], tmp_path: Path, complaint: Callable
) -> None:
    output = tmp_path / "run"
    resumed(arguments, output, "--max-steps", "1", "--schedule", "constant")
    (output / "training_state.pt").unlink()
    before = (output / "last" / "model.safetensors").read_bytes()
    line = complaint(finetune.main, *arguments, "--output", output, "--resume")
    assert "holds checkpoints, but no training_state.pt" in line
    assert (output / "last" / "model.safetensors").read_bytes() == before


def test_the_last_epochs_are_kept(arguments: list[str], tmp_path: Path) -> None:
    output = tmp_path / "run"
    resumed([*arguments, "--epochs", "3"], output, "--keep-epochs", "2")
    assert {path.parent.name for path in output.glob("*/model.safetensors")} == {
        "epoch_2",
        "epoch_3",
        "best",
        "last",
    }


def test_a_log_that_is_gone_costs_the_log_alone(arguments: list[str], whole: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    given = [*arguments, "--schedule", "constant"]
    resumed(given, output, "--max-steps", "4")
    (output / "metrics.jsonl").unlink()
    resumed(given, output)
    assert state(output)["progress"]["step"] == 12


def test_memory_is_left_out_where_python_cannot_tell_it(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    resumed(arguments, tmp_path / "run", "--max-steps", "3", "--schedule", "constant")
    assert all("memory_gb" not in line for line in run_folder.read_metrics(tmp_path / "run"))
