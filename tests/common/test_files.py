import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from common.files import make_writable, remove_leftovers, whole_file, whole_folder


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
