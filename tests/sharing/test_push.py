"""What the scripts send to a Hub on the loopback address that can be told to fail."""

import shlex
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from fake_hub import READER, WRITER, FakeHub
from hub_user import BASE, RAW, STORY, TRAIN, User, finished, ranges, same_data, weights
from model import load_model
from sharing.push import PUSHED, BackgroundPush
from tiny import tiny_model


def test_what_was_pushed_comes_back_bit_for_bit(
    hub: FakeHub, texts: dict[str, bytes], undisturbed: Path, tmp_path: Path
) -> None:
    hub.add("dataset", RAW, texts)
    hub.add("model", BASE, weights(tiny_model(), tmp_path))
    author = User(tmp_path / "author", token=WRITER)
    author.succeed("prepare_data.py", "--output", "data", "--push-to-hub", "author/data")
    trained = author.succeed(
        "finetune.py", "--data", "author/data", "--max-steps", "2", "--push-to-hub", "author/stories"
    )
    assert "pushed checkpoints/sft_30M_model/best to" in trained.stdout

    reader = User(tmp_path / "reader")
    told = reader.succeed(*STORY, "--checkpoint", "author/stories")
    run = author.place / "checkpoints" / "sft_30M_model"
    assert told.stdout == author.succeed(*STORY, "--checkpoint", run / "best").stdout
    (pulled,) = reader.cache.glob("hub/models--author--stories/snapshots/*/model.safetensors")
    assert pulled.read_bytes() == (run / "best" / "model.safetensors").read_bytes()
    ours, theirs = load_model(run / "best").state_dict(), load_model(pulled).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    reader.succeed("finetune.py", "--data", "author/data", "--max-steps", "1")
    (folder,) = reader.cache.glob("hub/datasets--author--data/snapshots/*")
    assert same_data(folder, author.place / "data")
    rows = pq.read_table(folder / "train.parquet").to_pylist()
    assert rows == pq.read_table(undisturbed / "train.parquet").to_pylist()


def test_access_is_checked_before_the_work(
    hub: FakeHub, texts: dict[str, bytes], undisturbed: Path, tmp_path: Path
) -> None:
    hub.add("dataset", RAW, texts)
    hub.add("dataset", "author/theirs", {"README.md": b""})
    hub.add("model", "author/theirs", {"README.md": b""})
    hub.add("model", BASE, weights(tiny_model(), tmp_path))
    for token, said in (
        (None, "needs a token; log in with `uv run hf auth login`, or set HF_TOKEN"),
        ("hf_of_nobody", "the Hub does not know the token (401); the token in HF_TOKEN wins over"),
        (READER, "the Hub answers 403 Forbidden: Forbidden: you may only read"),
    ):
        user = User(tmp_path / str(token), token)
        for script, repo in (
            ("prepare_data.py --output out", "author/new"),
            ("prepare_data.py --output out", "author/theirs"),
            (f"finetune.py --data {undisturbed} --output out", "author/theirs"),
        ):
            answer = user.fail(*script.split(), "--push-to-hub", repo)
            assert f"--push-to-hub {repo}: {said}" in answer
        assert ranges(hub, TRAIN) == []
        assert not list(user.place.glob("out/*"))
    assert ("dataset", "author/new") not in hub.repos
    answer = user.fail("prepare_data.py", "--push-to-hub", "no-namespace")
    assert "--push-to-hub no-namespace: is not the name of a repo" in answer


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(("PUT .*", dict(after_bytes=100, reset=True, times=10**6)), marks=pytest.mark.slow),
        ("POST .*/commit/main", dict(status=503, times=10**6)),
        ("POST .*/commit/main", dict(status=403)),
        ("POST .*/batch", dict(status=401)),
    ],
)
def test_an_upload_that_fails_loses_nothing_and_says_how_to_send_it_again(
    fault: tuple[str, dict], hub: FakeHub, texts: dict[str, bytes], undisturbed: Path, tmp_path: Path
) -> None:
    hub.add("dataset", RAW, texts)
    user = User(tmp_path / "user", token=WRITER)
    hub.fail(fault[0], **fault[1])
    answer = user.fail("prepare_data.py", "--output", "my data", "--push-to-hub", "author/data", patience=0.5)
    assert same_data(user.place / "my data", undisturbed)
    (user.place / "my data" / ".env").write_text("a secret of the user's")
    assert list(hub.repos["dataset", "author/data"].commits.popitem()[1]) == [".gitattributes"]
    hub.faults.clear()
    command = shlex.split(answer[answer.index("uv run python -m ") :])[4:]
    hub.repos.clear()
    assert "pushed my data to" in user.succeed(*command).stdout
    repo = hub.repos["dataset", "author/data"]
    ours = {file.name: file.read_bytes() for file in (user.place / "my data").iterdir()}
    del ours[".env"]
    assert repo.commits[repo.main] == ours | {".gitattributes": b""}


def test_a_dropped_upload_is_made_again(hub: FakeHub, undisturbed: Path, tmp_path: Path) -> None:
    user = User(tmp_path / "user", token=WRITER)
    hub.fail("PUT .*", after_bytes=100)
    hub.fail("POST .*/commit/main", status=503)
    user.succeed("sharing.push", "--folder", undisturbed, "--push-to-hub", "author/data")


def test_a_folder_that_is_no_result_is_not_pushed(hub: FakeHub, tmp_path: Path) -> None:
    user = User(tmp_path / "user", token=WRITER)
    assert "holds neither" in user.fail("sharing.push", "--folder", ".", "--push-to-hub", "author/data")
    assert "both are needed" in user.fail("sharing.push", "--folder", ".")
    assert hub.repos == {}


@pytest.mark.parametrize("kind", PUSHED)
def test_a_card_that_was_edited_on_the_hub_stays_and_one_of_ours_is_replaced(
    kind: str, hub: FakeHub, tmp_path: Path
) -> None:
    user = User(tmp_path / "user", token=WRITER)

    def push(text: str, repo: str = "author/work") -> str:
        """Push a folder whose files all say this; returns what was printed."""
        (user.place / "out").mkdir(exist_ok=True)
        for name in PUSHED[kind][:3]:
            (user.place / "out" / name).write_text(f"---\nlicense: mit\n---\n{text}")
        return user.succeed("sharing.push", "--folder", "out", "--push-to-hub", repo).stdout

    def lies_there(repo: str = "author/work") -> dict[str, str]:
        """The last word of each file in the repo."""
        there = hub.repos[kind, repo]
        files = there.commits[there.main].items()
        return {name: content.decode().split()[-1] for name, content in files if content}

    for text in ("first", "second"):  # into a new repo, and again
        assert "note" not in push(text)
        assert lies_there() == dict.fromkeys(PUSHED[kind][:3], text)
    hub.add(kind, "author/work", {"README.md": b"edited"})
    for text in ("third", "fourth"):
        printed = push(text)
        assert "author/work: its README.md was edited on the Hub and stays; the new one is in out" in printed
        assert lies_there() == dict.fromkeys(PUSHED[kind][:3], text) | {"README.md": "edited"}
    hub.add(kind, "author/other", {"notes.txt": b"theirs"})  # a repo without a card
    assert "note" not in push("fifth", "author/other")
    assert lies_there("author/other") == dict.fromkeys(PUSHED[kind][:3], "fifth") | {"notes.txt": "theirs"}


def test_a_token_is_neither_printed_nor_stored(hub: FakeHub, texts: dict[str, bytes], tmp_path: Path) -> None:
    hub.add("dataset", RAW, texts)
    user = User(tmp_path / "user", token=WRITER)
    hub.fail("POST .*/commit/main", status=403)
    push = ["--push-to-hub", "author/data"]
    done = [finished(user.start_process("prepare_data.py", "--output", "data", *push))]
    done += [finished(user.start_process("sharing.push", "--folder", "data", *push))]
    assert [process.returncode for process in done] == [2, 0]
    assert not any(WRITER in process.stdout + process.stderr for process in done)
    files = [file for file in user.place.rglob("*") if file.is_file()]
    assert files
    assert not any(WRITER.encode() in file.read_bytes() for file in files)


def test_a_run_sends_checkpoints_meanwhile_and_goes_on_if_that_fails(
    hub: FakeHub, texts: dict[str, bytes], undisturbed: Path, tmp_path: Path
) -> None:
    hub.add("model", BASE, weights(tiny_model(), tmp_path))
    author = User(tmp_path / "author", token=WRITER)
    given = ["--data", undisturbed, "--epochs", "2", "--stories", "0"]
    done = author.succeed("finetune.py", *given, "--push-to-hub", "author/stories", "--push-every", "1")
    assert "pushed checkpoints/sft_30M_model/last to" in done.stdout
    assert "pushed checkpoints/sft_30M_model/best to" in done.stdout
    assert not list((author.place / "checkpoints" / "sft_30M_model").glob(".push-*"))
    assert "--push-to-hub" in author.fail("finetune.py", *given, "--overwrite", "--push-every", "1")


def test_a_push_in_the_background_that_fails_is_a_line(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add("model", "author/stories", {"README.md": b""})
    tiny_model().save_pretrained(tmp_path / "last")
    pushes = BackgroundPush("nobody/stories")
    pushes.start(tmp_path / "last")
    pushes.wait()
    assert "note: --push-every: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
