"""Raw text from a Hub on the loopback address that can be told to fail."""

import json
import re
import signal
from pathlib import Path

import pytest
from filelock import FileLock

import prepare_data
from fake_hub import FakeHub, blob_id, sha256
from hub_user import (
    FAULTS,
    RAW,
    TRAIN,
    VALIDATION,
    User,
    complaint_of,
    finished,
    ranges,
    same_data,
)
from preparation import streamed_file
from small_disk import on_a_disk


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
    monkeypatch.setattr(streamed_file, "PART", 60_000)
    hub.add("dataset", RAW, texts)
    hub.fail(f"GET /objects/.*{TRAIN}", **FAULTS[fault])
    hub.fail(f"GET /datasets/.*{VALIDATION}", **FAULTS[fault])
    user.succeed("prepare_data.py", "--output", "data")
    assert same_data(user.place / "data", undisturbed)
    parts = len(texts[TRAIN]) / streamed_file.PART + 1  # and none twice without need
    assert len(ranges(hub, TRAIN)) <= parts + FAULTS[fault].get("times", 1)


def test_progress_is_shown_in_rows_and_records(hub: FakeHub, user: User, texts: dict[str, bytes]) -> None:
    hub.add("dataset", RAW, texts)
    shown = user.succeed("prepare_data.py").stderr
    assert re.search(r"train: 100%.*<00:00, .*B/s, [\d,]+ rows, 40\d records, [\d,]+ records/s", shown)


def test_a_second_run_goes_on_from_what_is_on_disk(
    hub: FakeHub,
    user: User,
    texts: dict[str, bytes],
    undisturbed: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streamed_file, "PART", 150_000)
    commit = hub.add("dataset", RAW, texts)
    hub.fail(f"GET .*{TRAIN}", skip=2, times=10**6, status=503)
    answer = user.fail("prepare_data.py", "--output", "data", patience=0.5)
    assert f"{RAW}@{commit}/{TRAIN}: the Hub answers 503" in answer
    (incomplete,) = (user.place / "data" / "raw").glob("*.incomplete")
    assert incomplete.name == f"{sha256(texts[TRAIN])[:12]}-{TRAIN}.incomplete"
    assert incomplete.read_bytes() == texts[TRAIN][:150_000]
    assert not list((user.place / "data" / "raw").glob("*.txt"))
    assert not (user.place / "data" / "train.parquet").exists()

    hub.faults.clear()
    hub.requests.clear()
    hub.add("dataset", RAW, {"README.md": b"another card"})  # a commit, not to the text
    user.succeed("prepare_data.py", "--output", "out")
    assert ranges(hub, TRAIN) == [150_000]
    assert same_data(user.place / "out", undisturbed)
    with hub.away():  # and now all of it is here
        user.succeed("prepare_data.py", "--output", "again")
    assert same_data(user.place / "again", undisturbed)


def test_a_limit_reads_no_more_than_it_needs(
    hub: FakeHub, user: User, texts: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed_file, "PART", 1_000_000)
    hub.add("dataset", RAW, {TRAIN: texts[TRAIN] * 200, VALIDATION: texts[VALIDATION]})
    user.succeed("prepare_data.py", "--limit", "50", "--no-balance")
    (incomplete,) = user.place.glob(f"data/raw/*{TRAIN}.incomplete")
    assert incomplete.stat().st_size < len(texts[TRAIN]) * 20


def test_text_that_came_damaged_is_not_used(
    hub: FakeHub, user: User, texts: dict[str, bytes], undisturbed: Path
) -> None:
    hub.add("dataset", RAW, texts)
    (user.place / "data" / "raw").mkdir(parents=True)
    for name, digest in ((TRAIN, sha256(texts[TRAIN])), (VALIDATION, blob_id(texts[VALIDATION]))):
        incomplete = user.place / "data" / "raw" / f"{digest[:12]}-{name}.incomplete"
        incomplete.write_bytes(texts[name][:1000].replace(b"the", b"The"))
        assert f"{name}: came damaged" in user.fail("prepare_data.py", "--output", "out")
    user.succeed("prepare_data.py", "--output", "out")
    assert same_data(user.place / "out", undisturbed)


def test_a_folder_of_a_repo_can_be_the_source(
    hub: FakeHub, user: User, texts: dict[str, bytes], undisturbed: Path
) -> None:
    others = {name: b"" for name in texts}
    hub.add("dataset", "you/mirror", {f"v2/{name}": text for name, text in texts.items()} | others)
    user.succeed("prepare_data.py", "--source", "you/mirror/v2", "--output", "out")
    assert same_data(user.place / "out", undisturbed)
    assert json.loads((user.place / "out" / "stats.json").read_text())["source"] == "you/mirror"


def test_a_server_that_sends_more_than_it_was_asked_for_is_stopped(
    hub: FakeHub, user: User, texts: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed_file, "PART", 60_000)
    hub.add("dataset", RAW, texts)
    hub.fail(f"GET /objects/.*{TRAIN}", whole=True)
    line = user.fail("prepare_data.py")
    assert f"{TRAIN}: the Hub gives more than the part of a file that it was asked for" in line
    user.succeed("prepare_data.py")


def test_two_runs_do_not_write_one_file(hub: FakeHub, user: User, texts: dict[str, bytes]) -> None:
    commit = hub.add("dataset", RAW, texts)
    (user.place / "data" / "raw").mkdir(parents=True)
    with FileLock(user.place / "data" / "raw" / f"{sha256(texts[TRAIN])[:12]}-{TRAIN}.lock"):
        answer = user.fail("prepare_data.py", "--output", "out")
    assert f"{RAW}@{commit}/{TRAIN}, data/raw" in answer
    assert "another process is writing there" in answer
    user.succeed("prepare_data.py", "--output", "out")


@pytest.mark.slow
def test_a_network_that_is_gone_for_good_ends_it_within_two_minutes(
    hub: FakeHub, user: User, texts: dict[str, bytes]
) -> None:
    hub.add("dataset", RAW, texts)
    hub.fail(f"GET .*{TRAIN}", times=10**6, silent=True)
    answer = complaint_of(finished(user.start_process("prepare_data.py")))
    assert f"{TRAIN}: no answer from the Hub, for too long" in answer


@pytest.mark.usefixtures("disks")
def test_a_full_disk_while_text_comes(hub: FakeHub, user: User, texts: dict[str, bytes]) -> None:
    hub.add("dataset", RAW, texts)
    before = on_a_disk(user.place / "data", "size=100k")
    done = finished(user.start_process("prepare_data.py", "--output", "out", before=before))
    assert "no room on the disk" in complaint_of(done)
    (incomplete,) = (user.place / "kept").rglob(f"*{TRAIN}.incomplete")
    assert incomplete.stat().st_size > 80_000
    assert texts[TRAIN].startswith(incomplete.read_bytes())


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
    hub.fail(f"GET .*{TRAIN}", silent=True, times=10**6)
    with user.start_process("prepare_data.py", "--output", "data") as process:
        while not any("/resolve/" in request for request in hub.requests):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert not list(user.place.rglob(f"*-{TRAIN}"))
    hub.faults.clear()
    user.succeed("prepare_data.py", "--output", "out")
    assert same_data(user.place / "out", undisturbed)
