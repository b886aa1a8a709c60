import ast
import errno
import multiprocessing
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import evaluate
import finetune
import generate
import prepare_data
import quantize
from clean_environment import ROOT
from common.files import claimed_folder, make_writable, remove_leftovers, whole_file, whole_folder
from samples import write_corpus


def fill(folder: Path, text: str, fail: bool = False) -> None:
    with whole_folder(folder, ["a.txt", "*.old"]) as new:
        (new / "a.txt").write_text(text)
        if fail:
            raise KeyboardInterrupt


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    fill(tmp_path / "out", "first")
    (tmp_path / "out" / "b.old").touch()
    (tmp_path / "out" / "mine").mkdir()
    (tmp_path / "out" / "mine" / "a.txt").write_text("somebody else's")
    fill(tmp_path / "out", "second")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.txt", "mine"}
    assert (tmp_path / "out" / "mine" / "a.txt").read_text() == "somebody else's"
    assert (tmp_path / "out" / "a.txt").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_was_there_survives_a_block_that_fails(tmp_path: Path) -> None:
    fill(tmp_path / "out", "precious")
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "out", "half", fail=True)
    assert (tmp_path / "out" / "a.txt").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_was_there_survives_a_rename_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "out", "precious")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="no"):
        fill(tmp_path / "out", "second")
    assert (tmp_path / "out" / "a.txt").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "a.txt"
    with whole_file(file) as path:
        path.write_text("first")
        assert not file.exists()
    with pytest.raises(FileNotFoundError), whole_file(file):
        pass  # nothing was written
    assert file.read_text() == "first"
    assert [path.name for path in file.parent.iterdir()] == ["a.txt"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"--output: .*file/out cannot be written"):
        make_writable(tmp_path / "file" / "out")


@pytest.mark.parametrize("main", [prepare_data.main, quantize.main, evaluate.main, write_corpus.main])
def test_a_folder_that_another_process_is_writing_stays_its_own(
    main: Callable, tmp_path: Path, complaint: Callable
) -> None:
    output = tmp_path / "out"
    more = ["--checkpoint", "nowhere"] if main is quantize.main else []
    with claimed_folder(output, False, ["a.txt"], "a test") as folder:
        before = list(tmp_path.iterdir())
        for path in (output, tmp_path / "elsewhere" / ".." / "out"):
            line = complaint(main, "--output", path, *more)
            assert f"--output {path}: another process is writing there" in line
        assert list(tmp_path.iterdir()) == before
        (folder / "a.txt").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (output / "a.txt").read_text() == "whole"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_the_system_has_no_locks_the_work_is_done_with_a_note(
    number: int, raw: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on NFS without its lock daemon; such a disk cannot be had here."""

    def no_locks(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", no_locks)
    prepare_data.main(["--source", raw, "--output", "out"])
    assert "note: --output out: see that nobody else writes there" in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["out"]


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    fill(tmp_path / "kept", "precious")
    (tmp_path / ".hidden").touch()
    killed = multiprocessing.get_context("fork").Process(target=die_while_writing, args=(tmp_path,))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".*"))) == 3
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".hidden", "kept"}


def die_while_writing(folder: Path) -> None:
    with whole_file(folder / "file") as file, whole_folder(folder / "kept", ["*"]):
        file.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_folder_whose_replacement_never_came_goes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "epoch-1", "precious")
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if self.name == "new":
            os._exit(9)
        return rename(self, target)

    child = multiprocessing.get_context("fork").Process(target=fill, args=(tmp_path / "epoch-1", "second"))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        child.start()
        child.join()
    assert child.exitcode == 9
    assert not (tmp_path / "epoch-1").exists()
    remove_leftovers(tmp_path)
    assert (tmp_path / "epoch-1" / "a.txt").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-1"]


MODE, SPARED = re.compile("[rwxabt+]{1,3}"), re.compile(r"(os|Image)\.open|open\(os\.devnull")


def left_open(call: ast.Call) -> set[str]:
    """What a call that opens a text file leaves to the system: its encoding, its line ends."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    said = {value.value for value in call.args if isinstance(value, ast.Constant)}
    mode = next((value for value in map(str, said) if MODE.fullmatch(value)), "r")
    if "b" in mode or SPARED.match(ast.unparse(call)):
        return set()
    both, is_method = {"encoding", "newline"}, isinstance(call.func, ast.Attribute)
    needed = {
        "open": {"encoding"} if mode == "r" else both,
        "read_text": {"encoding"},
        "write_text": both if is_method else set(),  # else it is ours, of common/files.py
    }
    given = {keyword.arg for keyword in call.keywords} | ({"encoding"} if "utf-8" in said else set())
    return needed.get(name, set()) - given


def test_every_text_file_is_utf_8_with_plain_line_ends() -> None:
    """By a look at the code: on Windows, and in other locales, the default is another."""
    others = {"tests", "benchmarks", ".venv"}
    found = [
        f"{file.relative_to(ROOT)}: {ast.unparse(call)}"
        for file in ROOT.rglob("*.py")
        if not others & set(file.relative_to(ROOT).parts)
        for call in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(call, ast.Call) and left_open(call)
    ]
    assert not found


@pytest.mark.parametrize(
    ("file", "main", "option"),
    [
        ("model.safetensors", generate.main, "--checkpoint"),
        ("gpt2.pt", generate.main, "--checkpoint"),
        ("train.parquet", finetune.main, "--data"),
        ("TinyStories-Instruct-train.txt", prepare_data.main, "--source"),
        ("TinyStories-Instruct-valid.txt", prepare_data.main, "--source"),
    ],
)
def test_what_git_lfs_left_in_the_place_of_a_file_is_called_so(
    file: str, main: Callable, option: str, checkpoint: str, raw: str, tmp_path: Path, complaint: Callable
) -> None:
    for text in Path(raw).glob("*.txt"):
        (tmp_path / text.name).write_bytes(text.read_bytes())
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 48000000\n"
    (tmp_path / file).write_text(pointer)
    more = {
        generate.main: ["--topic", "a", "--ending", "sad"],
        finetune.main: ["--checkpoint", checkpoint, "--output", "out"],
        prepare_data.main: ["--output", "out"],
    }
    line = complaint(main, option, tmp_path, *more[main])
    assert f"{tmp_path / file}: is a Git LFS pointer" in line
    assert "git lfs pull" in line
