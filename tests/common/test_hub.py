"""What the scripts take from a Hub on the loopback address that can be told to fail."""

import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from filelock import FileLock
from huggingface_hub import close_session, get_session

import prepare_data
from common import hub as client
from common.cli import InputError
from fake_hub import FakeHub
from hub_user import (
    BASE,
    DATA,
    FINETUNED,
    RAW,
    STORY,
    TRAIN,
    VALIDATION,
    User,
    complaint_of,
    finished,
    first_release,
    ranges,
    same_data,
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
    file = user.place / "evaluation" / "evaluation.json"
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


FAULTS: dict[str, dict[str, Any]] = {
    "503 for a while": dict(status=503, times=3),
    "429 with Retry-After": dict(status=429, headers={"Retry-After": "1"}),
    "dropped": dict(after_bytes=50_000),
    "ended early": dict(after_bytes=50_000, honest=False),
    "dropped again and again": dict(after_bytes=50_000, times=3),
    "reset": dict(after_bytes=50_000, reset=True),
    "silent for a while": dict(silent=True),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_weights_file_survives(fault: str, hub: FakeHub, user: User, tmp_path: Path) -> None:
    model = tiny_model(embedding_dim=64)
    hub.add("model", FINETUNED, weights(model, tmp_path))
    hub.fail("GET /objects/.*model.safetensors", **FAULTS[fault])
    assert user.succeed(*STORY).stdout == told_by(model, tmp_path)


@pytest.mark.parametrize("fault", FAULTS)
def test_no_row_is_lost_or_doubled(
    fault: str,
    hub: FakeHub,
    user: User,
    texts: dict[str, bytes],
    undisturbed: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Several processes parse, as they do a large file."""
    monkeypatch.setattr(prepare_data, "PARALLEL_FROM", 100_000)
    monkeypatch.setattr(prepare_data, "PIECE", 30_000)
    hub.add("dataset", RAW, texts)
    hub.fail(f"GET /objects/.*{TRAIN}", **FAULTS[fault])
    hub.fail(f"GET /datasets/.*{VALIDATION}", **FAULTS[fault])
    done = user.succeed("prepare_data.py", "--output", "data")
    assert same_data(user.place / "data", undisturbed)
    if "429" in fault:
        assert f"{TRAIN}: the Hub answers 429 Too Many Requests; trying again in 1 s" in done.stderr
    if "dropped" in fault:  # and what had come was not asked for again
        assert ranges(hub, TRAIN)[1] == 50_000


def test_progress_is_shown_in_rows_and_records(hub: FakeHub, user: User, texts: dict[str, bytes]) -> None:
    hub.add("dataset", RAW, texts)
    shown = user.succeed("prepare_data.py").stderr
    assert re.search(r"train: 100%.*<00:00, .*B/s, [\d,]+ rows, 40\d records, [\d,]+ records/s", shown)


def test_a_second_run_goes_on_from_what_is_on_disk(
    hub: FakeHub, user: User, texts: dict[str, bytes], undisturbed: Path
) -> None:
    commit = hub.add("dataset", RAW, texts)
    hub.fail(f"GET /objects/.*{TRAIN}", after_bytes=150_000)
    hub.fail(f"GET .*{TRAIN}", skip=1, times=10**6, status=503)
    answer = user.fail("prepare_data.py", "--output", "data", patience=0.5)
    assert f"{RAW}/{TRAIN}: the Hub answers 503" in answer
    kept = user.place / "data" / "raw" / f"{RAW.replace('/', '--')}@{commit[:12]}"
    assert [file.name for file in kept.iterdir()] == [f"{TRAIN}.incomplete"]
    assert (kept / f"{TRAIN}.incomplete").read_bytes() == texts[TRAIN][:150_000]
    assert not (user.place / "data" / "train.parquet").exists()

    hub.faults.clear()
    hub.requests.clear()
    user.succeed("prepare_data.py", "--output", "out")
    assert ranges(hub, TRAIN) == [150_000]
    assert same_data(user.place / "out", undisturbed)
    with hub.away():  # and now all of it is here
        user.succeed("prepare_data.py", "--output", "again")
    assert same_data(user.place / "again", undisturbed)


def test_a_limit_reads_no_more_than_it_needs(hub: FakeHub, user: User, texts: dict[str, bytes]) -> None:
    hub.add("dataset", RAW, {TRAIN: texts[TRAIN] * 200, VALIDATION: texts[VALIDATION]})
    user.succeed("prepare_data.py", "--limit", "50", "--no-balance")
    (incomplete,) = user.place.glob(f"data/raw/*/{TRAIN}.incomplete")
    assert incomplete.stat().st_size < len(texts[TRAIN]) * 20


def test_text_that_came_damaged_is_not_used(
    hub: FakeHub, user: User, texts: dict[str, bytes], undisturbed: Path
) -> None:
    commit = hub.add("dataset", RAW, texts)
    kept = user.place / "data" / "raw" / f"{RAW.replace('/', '--')}@{commit[:12]}"
    for name in (TRAIN, VALIDATION):
        kept.mkdir(parents=True, exist_ok=True)
        (kept / f"{name}.incomplete").write_bytes(texts[name][:1000].replace(b"the", b"The"))
        assert f"{name}: came damaged" in user.fail("prepare_data.py", "--output", "out")
    user.succeed("prepare_data.py", "--output", "out")
    assert same_data(user.place / "out", undisturbed)


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


@pytest.mark.parametrize("place", ["GET /api/.*/tree", "GET /objects", "HEAD"])
def test_a_hub_that_asks_for_too_long_a_rest_is_taken_at_its_word(
    place: str, hub: FakeHub, user: User, tmp_path: Path
) -> None:
    hub.add("model", FINETUNED, weights(tiny_model(), tmp_path))
    hub.fail(place, status=429, headers={"Retry-After": "3600"}, times=10**6)
    assert "the Hub asks to wait 3,600 s; try again then" in user.fail(*STORY)


def test_two_runs_do_not_write_one_file(hub: FakeHub, user: User, texts: dict[str, bytes]) -> None:
    commit = hub.add("dataset", RAW, texts)
    kept = user.place / "data" / "raw" / f"{RAW.replace('/', '--')}@{commit[:12]}"
    kept.parent.mkdir(parents=True)
    with FileLock(f"{kept}.lock"):
        answer = user.fail("prepare_data.py", "--output", "out")
    assert f"{RAW}/{TRAIN}: another run is fetching it" in answer
    user.succeed("prepare_data.py", "--output", "out")


def test_patience_with_long_work_begins_at_its_first_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.05)
    monkeypatch.setattr(client, "FIRST_WAIT", 0.001)

    tries = []

    def work() -> str:
        tries.append(time.monotonic())
        if len(tries) == 1:
            while time.monotonic() < tries[0] + 0.1:
                pass
            raise httpx2.ReadError("lost")
        return "done"

    assert client.patiently("work", work, long=True) == "done"
    tries.clear()
    with pytest.raises(InputError, match="for too long"):
        client.patiently("work", work)


def test_a_renewed_client_does_not_wait_for_ever_either() -> None:
    client._set_up_client()
    close_session()
    assert client._limit_waiting in get_session().event_hooks["request"]


@pytest.mark.parametrize("script", [["prepare_data.py"], STORY, ["finetune.py"]])
def test_a_server_that_never_answers_is_given_up(script: list[str], hub: FakeHub, user: User) -> None:
    hub.fail(".*", silent=True, times=10**6)
    assert "no answer from the Hub, for too long; try again later" in user.fail(*script, patience=0.5)


def test_a_server_that_is_not_there_is_given_up(hub: FakeHub, user: User) -> None:
    with hub.away():
        assert f"{RAW}: no connection to the Hub, for too long" in user.fail("prepare_data.py", patience=0.5)
        assert f"{FINETUNED}: no connection to the Hub, for too long" in user.fail(*STORY, patience=0.5)


@pytest.mark.slow
def test_a_network_that_is_gone_for_good_ends_it_within_two_minutes(
    hub: FakeHub, user: User, texts: dict[str, bytes]
) -> None:
    hub.add("dataset", RAW, texts)
    hub.fail(f"GET /objects/.*{TRAIN}", after_bytes=150_000)
    hub.fail(f"GET .*{TRAIN}", skip=1, times=10**6, silent=True)
    answer = complaint_of(finished(user.start_process("prepare_data.py")))
    assert f"{RAW}/{TRAIN}: no answer from the Hub, for too long" in answer


@pytest.mark.usefixtures("disks")
def test_a_full_disk_while_text_comes(hub: FakeHub, user: User, texts: dict[str, bytes]) -> None:
    hub.add("dataset", RAW, texts)
    before = on_a_disk(user.place / "data", "size=100k")
    done = finished(user.start_process("prepare_data.py", "--output", "out", before=before))
    assert f"{RAW}/{TRAIN}: no room on the disk" in complaint_of(done)
    (incomplete,) = (user.place / "kept").rglob(f"{TRAIN}*")
    assert incomplete.name == f"{TRAIN}.incomplete"
    assert incomplete.read_bytes() == texts[TRAIN][:102_400]


@pytest.mark.usefixtures("disks")
def test_a_full_disk_while_weights_come(hub: FakeHub, user: User, tmp_path: Path) -> None:
    hub.add("model", FINETUNED, weights(tiny_model(embedding_dim=64), tmp_path))
    done = finished(user.start_process(*STORY, before=on_a_disk(user.cache, "size=100k")))
    assert f"{FINETUNED}: no room on the disk" in complaint_of(done)


@pytest.mark.usefixtures("disks")
def test_a_full_disk_while_the_result_is_written(user: User, undisturbed: Path) -> None:
    before = on_a_disk(user.place / "small", "size=8k")
    arguments = ["--source", undisturbed.parent, "--output", "small/data"]
    done = finished(user.start_process("prepare_data.py", *arguments, before=before))
    assert "no room on the disk" in complaint_of(done)
    assert list((user.place / "kept").iterdir()) == []


def test_a_kill_leaves_nothing_that_looks_whole(
    hub: FakeHub, user: User, texts: dict[str, bytes], undisturbed: Path
) -> None:
    hub.add("dataset", RAW, texts)
    hub.fail(f"GET /objects/.*{TRAIN}", after_bytes=150_000)
    hub.fail(f"GET .*{TRAIN}", skip=1, silent=True, times=10**6)
    with user.start_process("prepare_data.py", "--output", "data") as process:
        while len(ranges(hub, TRAIN)) < 1 or sum(TRAIN in request for request in hub.requests) < 3:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert not list(user.place.rglob(TRAIN))
    hub.faults.clear()
    user.succeed("prepare_data.py", "--output", "out")
    assert same_data(user.place / "out", undisturbed)
