"""What the scripts take from a Hub on the loopback address that can be told to fail."""

import json
from pathlib import Path

import pytest

from fake_hub import FakeHub
from hub_user import (
    BASE,
    DATA,
    FAULTS,
    FINETUNED,
    RAW,
    STORY,
    TRAIN,
    VALIDATION,
    User,
    complaint_of,
    finished,
    first_release,
    told_by,
    weights,
)
from small_disk import on_a_disk
from tiny import tiny_model


def test_a_base_model_and_data_are_fetched_and_a_second_time_need_no_network(
    hub: FakeHub, user: User, undisturbed: Path, tmp_path: Path
) -> None:
    base = tiny_model()
    hub.add("model", BASE, weights(base, tmp_path))
    commit = hub.add("dataset", DATA, {file.name: file.read_bytes() for file in undisturbed.iterdir()})
    train = ["finetune.py", "--model-size", "30m", "--max-steps", "1", "--overwrite"]
    first = user.succeed(*train)
    assert f"{DATA}: commit {commit[:12]}, fetched from the Hub, in {user.cache}" in first.stderr
    assert f"{BASE}: commit " in first.stderr
    trained = user.place / "checkpoints" / "sft_30M_model" / "last" / "model.safetensors"
    content = trained.read_bytes()
    with hub.away():
        again = user.succeed(*train)
    assert f"{DATA}: commit {commit[:12]}, from the Hub's cache, in {user.cache}" in again.stderr
    assert trained.read_bytes() == content


@pytest.mark.parametrize("form", ["folder", "single file"])
def test_a_published_model_tells_a_story_in_either_form(
    form: str, hub: FakeHub, user: User, tmp_path: Path
) -> None:
    model = tiny_model()
    files = weights(model, tmp_path) if form == "folder" else first_release(model)
    hub.add("model", FINETUNED, files | {"README.md": b"# Stories", "notes/[1].pt": b""})
    local = told_by(model, tmp_path)
    fetched = user.succeed(*STORY)
    assert fetched.stdout == local
    assert "fetched from the Hub" in fetched.stderr
    with hub.away():
        for offline in (False, True):
            again = user.succeed(*STORY, offline=offline)
            assert again.stdout == local
            assert "from the Hub's cache" in again.stderr


def test_a_published_model_is_measured_on_published_data(
    hub: FakeHub, user: User, undisturbed: Path, tmp_path: Path
) -> None:
    commits = {
        FINETUNED: hub.add("model", FINETUNED, weights(tiny_model(), tmp_path)),
        DATA: hub.add("dataset", DATA, {file.name: file.read_bytes() for file in undisturbed.iterdir()}),
    }
    measure = ["evaluate.py", "--topics", "2", "--num-stories", "1", "--max-tokens", "5", "--overwrite"]
    user.succeed(*measure)
    file = user.place / "report" / "evaluation.json"
    content = file.read_bytes()
    evaluation = json.loads(content)
    for origin in (evaluation["data"], *evaluation["checkpoints"]):
        assert origin["commit"] == commits.pop(origin["name"])
    assert "--update-card" in user.fail(*measure, "--update-card")
    with hub.away():
        user.succeed(*measure)
    assert file.read_bytes() == content


def test_a_repo_with_both_forms_is_fetched_once(hub: FakeHub, user: User, tmp_path: Path) -> None:
    model = tiny_model()
    hub.add("model", FINETUNED, weights(model, tmp_path) | first_release(model))
    user.succeed(*STORY)
    assert not [request for request in hub.requests if request.startswith("GET") and ".pt" in request]


def test_a_revision_can_be_pinned(hub: FakeHub, user: User, tmp_path: Path) -> None:
    old, new = tiny_model(0), tiny_model(1)
    commit = hub.add("model", FINETUNED, weights(old, tmp_path))
    hub.add("model", FINETUNED, weights(new, tmp_path))
    stories = {
        name: user.succeed(*STORY, "--checkpoint", name).stdout
        for name in (FINETUNED, f"{FINETUNED}@{commit}")
    }
    assert stories[f"{FINETUNED}@{commit}"] == told_by(old, tmp_path)
    assert stories[FINETUNED] == told_by(new, tmp_path)
    assert "no such revision" in user.fail(*STORY, "--checkpoint", f"{FINETUNED}@{'0' * 40}")


def test_a_file_and_a_folder_of_a_repo_can_be_named(hub: FakeHub, user: User, tmp_path: Path) -> None:
    one, other = tiny_model(seed=1), tiny_model(seed=2)
    folder = {f"runs/first/{name}": content for name, content in weights(other, tmp_path).items()}
    file = first_release(one)["finetune_epoch_5.pt"]
    files = {"epoch_1.pt": b"", "epoch_2.pt": file, "notes/epoch_3.pt": file} | folder
    commit = hub.add("model", "author/runs", files)
    hub.add("model", "author/runs", {"epoch_2.pt": b"", "runs/first/model.safetensors": b""})
    names = {"epoch_2.pt": one, "notes": one, "notes/epoch_3.pt": one, "runs/first": other}
    for name, model in names.items():
        told = user.succeed(*STORY, "--checkpoint", f"author/runs/{name}@{commit}").stdout
        assert told == told_by(model, tmp_path)
    assert "holds none of the files" in user.fail(*STORY, "--checkpoint", "author/runs/runs")
    assert "not a checkpoint" in user.fail(*STORY, "--checkpoint", "author/runs/runs/first/config.json")
    named = f"author/runs/notes/epoch_3.pt@{commit}"
    user.succeed("quantize.py", "--checkpoint", named, "--examples", 0, "--output", "int8")
    made = json.loads((user.place / "int8" / "int8.json").read_text())
    assert (made["name"], made["commit"]) == (named, commit)


def test_what_is_in_the_cache_is_taken_whatever_keeps_the_hub_away(
    hub: FakeHub, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("model", FINETUNED, weights(tiny_model(), tmp_path))
    told = user.succeed(*STORY).stdout
    for fault in (dict(page=True), dict(status=429, headers={"Retry-After": "3600"})):
        hub.fail("GET /api/", **fault)
        done = user.start(*STORY)
        assert done.stdout == told
        assert "what is in the Hub's cache is taken" in done.stderr
    hub.repos.clear()
    assert "the Hub has no such repo" in user.fail(*STORY)


def test_the_state_of_a_run_on_the_hub_is_no_checkpoint(hub: FakeHub, user: User, tmp_path: Path) -> None:
    model = tiny_model()
    hub.add("model", FINETUNED, first_release(model) | {"training_state.pt": b"", ".hidden.pt": b""})
    assert user.succeed(*STORY).stdout == told_by(model, tmp_path)


def test_a_name_of_torchs_own_is_taken_before_others(hub: FakeHub, user: User, tmp_path: Path) -> None:
    model = tiny_model()
    file = first_release(model)["finetune_epoch_5.pt"]
    hub.add("model", FINETUNED, {"pytorch_model.bin": file, "training_args.bin": b"", "epoch_1.pt": b""})
    assert user.succeed(*STORY).stdout == told_by(model, tmp_path)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_weights_file_survives(fault: str, hub: FakeHub, user: User, tmp_path: Path) -> None:
    model = tiny_model(embedding_dim=64)
    hub.add("model", FINETUNED, weights(model, tmp_path))
    hub.fail("GET /objects/.*model.safetensors", **FAULTS[fault])
    assert user.succeed(*STORY).stdout == told_by(model, tmp_path)


def test_what_the_hub_does_not_have_gets_one_clear_line(
    hub: FakeHub, user: User, texts: dict[str, bytes], tmp_path: Path
) -> None:
    missing = "the Hub has no such repo"
    assert f"{RAW}: {missing}" in user.fail("prepare_data.py")
    assert f"{FINETUNED}: {missing}" in user.fail(*STORY)
    assert f"{BASE}: {missing}" in user.fail("finetune.py")
    hub.add("model", BASE, weights(tiny_model(), tmp_path))
    assert f"{DATA}: {missing}" in user.fail("finetune.py")
    hub.add("dataset", RAW, {TRAIN: texts[TRAIN]})
    assert f"{RAW}/{VALIDATION}: the repo has no such file" in user.fail("prepare_data.py")
    answer = user.fail("prepare_data.py", "--source", f"{RAW}@v9")
    assert f"{RAW}@v9: the Hub has no such revision" in answer
    hub.add("model", FINETUNED, {"README.md": b"soon"})
    assert f"{FINETUNED}: the repo holds none of the files" in user.fail(*STORY)
    hub.add("model", FINETUNED, {"epoch_1.pt": b"", "epoch_2.pt": b""})
    assert "holds several checkpoints (epoch_1.pt, epoch_2.pt)" in user.fail(*STORY)


def test_a_weights_file_that_was_cut_short_is_not_taken_for_whole(
    hub: FakeHub, user: User, tmp_path: Path
) -> None:
    files = weights(tiny_model(), tmp_path)
    hub.add("model", FINETUNED, files | {"model.safetensors": files["model.safetensors"][:-1000]})
    assert "model.safetensors: damaged" in user.fail(*STORY)
    hub.add("model", FINETUNED, files)
    hub.fail("GET /objects/.*model.safetensors", after_bytes=50_000, times=10**6)
    hub.fail("GET .*model.safetensors", skip=1, times=10**6, status=500)
    assert f"{FINETUNED}: " in user.fail(*STORY, patience=0.5)
    assert not [
        file
        for file in user.cache.rglob("*")
        if file.is_file() and file.stat().st_size == 50_000 and file.suffix != ".incomplete"
    ]
    hub.faults.clear()
    user.succeed(*STORY)


@pytest.mark.usefixtures("disks")
def test_a_full_disk_while_weights_come(hub: FakeHub, user: User, tmp_path: Path) -> None:
    hub.add("model", FINETUNED, weights(tiny_model(embedding_dim=64), tmp_path))
    done = finished(user.start_process(*STORY, before=on_a_disk(user.cache, "size=100k")))
    assert f"{FINETUNED}: no room on the disk" in complaint_of(done)
