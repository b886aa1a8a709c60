"""A run that was stopped, by whatever, ends as if it had not been."""

import itertools
import json
import random
import shutil
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import finetune
import prepare_data
from common.signals import Ended
from model import GPT2
from samples import write_corpus
from trainee import flat, lines, outcome, resumed, state, train, train_until_call, wait_until
from training import run_folder


class Undisturbed(NamedTuple):
    """A run that nothing happened to, and how many calls it made."""

    output: Path
    calls: dict[str, int]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, arguments: list[str]) -> Undisturbed:
    output = tmp_path_factory.mktemp("undisturbed") / "run"
    done = train_until_call("anywhere", 0, *arguments, "--output", output).finish()
    assert done.returncode == 0, done.stderr
    anywhere, save = done.stdout.split()[-2:]
    return Undisturbed(output, {"anywhere": int(anywhere), "save": int(save)})


@pytest.mark.parametrize("points", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_a_run_killed_anywhere_and_resumed_ends_as_if_it_had_not_been(
    points: int, arguments: list[str], undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """At points drawn at random, and as many in the middle of a save."""
    expected = outcome(undisturbed.output)
    seed = random.SystemRandom().randrange(10**6)
    rng = random.Random(seed)
    kills = {"anywhere": 0, "save": 0}
    for chain in itertools.count():
        output = tmp_path / f"run {chain}"
        given = [*arguments, "--output", str(output), "--resume"]
        while True:
            place = min(kills, key=lambda place: kills[place])
            limit = rng.randrange(1, undisturbed.calls[place] // 2) if kills[place] < points else 0
            done = train_until_call(place, limit, *given).finish()
            if done.returncode == 0:
                break
            assert done.returncode == -signal.SIGKILL, f"seed {seed}, {kills}: {done.stderr}"
            kills[place] += 1
        assert outcome(output) == expected, f"seed {seed}, chain {chain}, {kills}"
        assert not list(output.glob(".*"))
        if kills == {"anywhere": points, "save": points}:
            break


@pytest.mark.parametrize(
    ("number", "times"),
    [
        *((signal.SIGINT, 1), (signal.SIGTERM, 1)),
        *((signal.SIGHUP, 3), (signal.SIGQUIT, 3), (signal.SIGUSR1, 3)),
    ],
)
def test_a_signal_saves_first_however_often_it_comes(
    number: signal.Signals, times: int, arguments: list[str], undisturbed: Undisturbed, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    given = [*arguments, "--output", str(output), "--save-every", "1000"]
    run = train(*given)
    wait_until(lambda: (output / "metrics.jsonl").exists() and len(lines(output)) > 0, run)
    for _ in range(times):
        run.send_signal(number)
    done = run.finish()
    assert done.returncode == 128 + number
    assert "Traceback" not in done.stderr
    step = torch.load(output / "training_state.pt", weights_only=True)["progress"]["step"]
    assert step >= 3
    assert f"saved after step {step}" in done.stdout
    done = train(*given, "--resume").finish()
    assert done.returncode == 0, done.stderr
    assert outcome(output) == outcome(undisturbed.output)


def test_a_validation_that_was_stopped_is_made_again(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, output = tmp_path / "whole", tmp_path / "run"
    resumed(arguments, whole)
    calls: list[None] = []

    def stopped(supervised: object, batches: Iterable[object], *more: object) -> float:
        calls.append(None)
        for number, _ in enumerate(batches):
            if len(calls) == 2 and number == 1:  # the first call is the trial before step 1
                signal.raise_signal(signal.SIGTERM)
        return 1.0

    with monkeypatch.context() as patch:
        patch.setattr(finetune, "validation_loss", stopped)
        with pytest.raises(Ended, match="SIGTERM"):
            resumed(arguments, output)
    assert state(output)["progress"]["validated"] == 0 < state(output)["progress"]["step"]
    resumed(arguments, output)
    assert outcome(output) == outcome(whole)


def saved_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps of the saves to come."""
    steps: list[int] = []
    save = run_folder.save

    def noted(*arguments: object) -> None:
        steps.append(arguments[-1].step)  # type: ignore[attr-defined]
        save(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(run_folder, "save", noted)
    return steps


def test_saves_come_every_so_many_steps_or_minutes(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = saved_steps(monkeypatch)
    for name, more, expected in (
        ("steps", ["--save-every", "2"], [2, 4, 5]),
        ("minutes", ["--save-every", "99", "--save-minutes", "1e-9"], [1, 2, 3, 4, 5, 5]),
        ("neither", ["--save-every", "99", "--save-minutes", "0"], [5]),
    ):
        resumed(arguments, tmp_path / name, "--max-steps", "5", *more)
        assert steps == expected
        steps.clear()


def test_more_epochs_or_steps_go_on_where_the_run_ended(
    arguments: list[str], undisturbed: Undisturbed, tmp_path: Path
) -> None:
    constant = [*arguments, "--schedule", "constant"]
    whole, longer = tmp_path / "whole", tmp_path / "longer"
    resumed(constant, whole)
    resumed(constant, longer, "--max-steps", "4")
    resumed(constant, longer, "--epochs", "1")
    assert not (longer / "epoch_2").exists()
    resumed(constant, longer)
    for part in ("model", "optimizer"):
        assert {k: v.tolist() for k, v in flat(state(longer)[part]).items()} == {
            k: v.tolist() for k, v in flat(state(whole)[part]).items()
        }
    assert [line for line in lines(longer) if "validation_loss" in line and line["step"] != 4] == [
        line for line in lines(whole) if "validation_loss" in line
    ]


def test_the_best_checkpoint_is_remembered(arguments: list[str], tmp_path: Path) -> None:
    """As if an epoch before had been far better, by what the state says."""
    output = tmp_path / "run"
    given = [*arguments, "--schedule", "constant"]
    resumed(given, output, "--epochs", "1")
    before = state(output)
    assert before["progress"]["best"] == lines(output)[-1]["validation_loss"]
    before["progress"]["best"] = 0.5
    torch.save(before, output / "training_state.pt")
    resumed(given, output)
    weights = {
        name: (output / name / "model.safetensors").read_bytes() for name in ("best", "epoch_1", "last")
    }
    assert weights["best"] == weights["epoch_1"] != weights["last"]


def test_a_run_that_saved_q_k_and_v_as_one_matrix_goes_on(arguments: list[str], tmp_path: Path) -> None:
    """As training_state.pt did once: by the names that parameters have in memory."""
    given, old, new = [*arguments, "--schedule", "constant"], tmp_path / "old", tmp_path / "new"
    for output in (old, new):
        resumed(given, output, "--max-steps", "4")
    before = state(old)
    model = GPT2(**json.loads((old / "last" / "config.json").read_text()))
    model.load_state_dict(before["model"])
    before["model"] = {name: weight.detach() for name, weight in model.named_parameters()}
    assert "blocks.0.mha.qkv.weight" in before["model"]
    torch.save(before, old / "training_state.pt")
    for output in (old, new):
        resumed(given, output, "--max-steps", "7")
    assert outcome(old) == outcome(new)


def test_a_finished_run_stays_as_it_is(
    arguments: list[str], undisturbed: Undisturbed, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    shutil.copytree(undisturbed.output, output)
    resumed(arguments, output)
    assert outcome(output) == outcome(undisturbed.output)


def test_changed_settings_are_refused_with_the_list_of_differences(
    arguments: list[str], undisturbed: Undisturbed, tmp_path: Path, complaint: Callable
) -> None:
    output = tmp_path / "run"
    shutil.copytree(undisturbed.output, output)
    before = outcome(output)
    other = tmp_path / "other"
    write_corpus.main(["--output", str(other / "raw"), "--records", "200", "--seed", "7"])
    prepare_data.main(["--source", str(other / "raw"), "--output", str(other / "data")])
    given = [
        *arguments,
        "--output",
        output,
        "--resume",
        "--lr",
        "0.5",
        "--seed",
        "9",
        "--data",
        other / "data",
    ]
    line = complaint(finetune.main, *given)
    assert "--lr was 0.001, now 0.5" in line
    assert "--seed was 0, now 9" in line
    assert "--data holds other examples for train" in line
    assert "--data holds other examples for validation" in line
    assert "batch-size" not in line
    assert "--schedule was cosine, now constant" in complaint(
        finetune.main, *arguments, "--output", output, "--resume", "--schedule", "constant"
    )
    few = [*arguments, "--output", output, "--resume", "--epochs", "1"]
    assert "--schedule cosine was laid out for 12 steps, now 6" in complaint(finetune.main, *few)
    assert outcome(output) == before


def test_data_that_lies_elsewhere_is_the_same_data(
    arguments: list[str], undisturbed: Undisturbed, data: str, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    shutil.copytree(undisturbed.output, output)
    shutil.copytree(data, tmp_path / "moved")
    resumed(arguments, output, "--data", str(tmp_path / "moved"), "--log-every", "1", "--save-every", "5")


def test_what_is_no_run_cannot_be_resumed_but_an_empty_folder_can_be_begun(
    arguments: list[str], tmp_path: Path, complaint: Callable
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "metrics.jsonl").write_text("precious")
    line = complaint(finetune.main, *arguments, "--output", tmp_path / "other", "--resume")
    assert "other: holds files, but no run.json" in line
    assert (tmp_path / "other" / "metrics.jsonl").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    resumed(arguments, tmp_path / "empty", "--max-steps", "1")
    assert state(tmp_path / "empty")["progress"]["step"] == 1


def test_a_damaged_state_gets_one_clear_line(
    arguments: list[str], undisturbed: Undisturbed, tmp_path: Path, complaint: Callable
) -> None:
    output = tmp_path / "run"
    shutil.copytree(undisturbed.output, output)
    given = [*arguments, "--output", output, "--resume"]
    content = (output / "training_state.pt").read_bytes()
    (output / "training_state.pt").write_bytes(content[:5000])
    assert "training_state.pt: damaged" in complaint(finetune.main, *given)
    (output / "training_state.pt").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "training_state.pt: is a Git LFS pointer" in complaint(finetune.main, *given)
    (output / "run.json").write_text("{")
    assert "run.json: damaged" in complaint(finetune.main, *given)
