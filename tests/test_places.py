"""Wherever it is used: in folders with odd names, in a locale that is not UTF-8, as on Windows."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import evaluate
import finetune
import generate
import prepare_data
import quantize
from clean_environment import ROOT
from common.cli import run
from fake_hub import WRITER, FakeHub
from sharing import push
from tiny import tiny_model

FEW = ["--topics=2", "--num-stories=1", "--ending-strength=1", "--max-tokens=5"]


def begin(place: Path, raw: str) -> None:
    """A model, and raw text that is not ASCII."""
    (place / "raw").mkdir(parents=True)
    for file in Path(raw).glob("*.txt"):
        text = file.read_bytes().replace(b"Summary: ", "Summary: Zoë and ".encode())
        (place / "raw" / file.name).write_bytes(text)
    tiny_model(context_length=128).save_pretrained(place / "base")


def use_all(place: str) -> None:
    """Each script once, from raw text to a report, with all that is read and written in `place`."""
    trained, data = [f"--checkpoint={place}/run/best"], [f"--data={place}/data"]
    train = [f"--checkpoint={place}/base", *data, f"--output={place}/run", "--stories=1", "--resume"]
    for main, arguments in (
        (prepare_data.main, [f"--source={place}/raw", f"--output={place}/data"]),
        (finetune.main, [*train, "--max-steps=1"]),
        (finetune.main, [*train, "--max-steps=2"]),
        (generate.main, [*trained, "--topic=Zoë", "--ending=sad", "--max-tokens=5"]),
        (quantize.main, [*trained, *data, "--examples=2"]),
        (evaluate.main, [f"--checkpoint={place}/run/last", *data, f"--output={place}/report", *FEW]),
    ):
        run(lambda main=main, given=arguments: main(given))  # type: ignore[misc]


WRITTEN = {
    *("data/stats.json", "data/README.md", "run/run.json", "run/metrics.jsonl", "run/stories/step_2.txt"),
    *("run/last/README.md", "run/last/config.json", "run/int8/int8.json", "run/int8/README.md"),
    *("report/report.md", "report/evaluation.json"),
}


def test_a_folder_may_have_any_name(raw: str, elsewhere: Path) -> None:
    place = "-a [b]::c*d?{e} $^$ %f #g 'Zoë'"
    begin(elsewhere / place, raw)
    use_all(place)
    assert [path.name for path in elsewhere.iterdir() if path.name != "data"] == [place]
    files = {str(path.relative_to(elsewhere / place)) for path in (elsewhere / place).rglob("*")}
    assert WRITTEN | {"run/loss.png", "report/endings.png"} <= files


def test_files_are_utf_8_where_the_locale_is_not(raw: str, tmp_path: Path) -> None:
    place = tmp_path / "Zoë"
    begin(place, raw)
    script = "import os, test_places; test_places.use_all(os.getcwd())"
    ascii_locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment = os.environ | ascii_locale | {"OMP_NUM_THREADS": "1"}  # others may have the second core
    done = subprocess.run([sys.executable, "-c", script], cwd=place, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    texts = {name: (place / name).read_bytes() for name in WRITTEN}
    assert not any(b"\r" in text for text in texts.values())
    assert "Zoë" in texts["report/report.md"].decode()
    assert not texts["run/stories/step_2.txt"].decode().isascii()
    for text in texts.values():
        text.decode()


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_a_clone_that_git_writes_for_windows_has_the_same_bytes(tmp_path: Path) -> None:
    source, clone = tmp_path / "source", tmp_path / "clone"
    files = [".gitattributes", "dataset.py", "samples/shared.toml", "assets/gpt2.tiktoken"]
    for file in files:
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        (source / file).write_bytes((ROOT / file).read_bytes().replace(b"\r\n", b"\n"))

    def git(*arguments: object) -> None:
        somebody = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        environment = os.environ | {"GIT_CONFIG_NOSYSTEM": "1"}
        subprocess.run(["git", *somebody, *map(str, arguments)], cwd=source, env=environment, check=True)

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "a")
    git("clone", "--quiet", "-c", "core.autocrlf=true", source, clone)
    for file in files:
        assert (clone / file).read_bytes() == (source / file).read_bytes(), file


WINDOWS_PATHS = [r"C:\models\mine", "C:/models/mine", r".\mine", r"..\mine\x", r"models\mine"]


@pytest.mark.parametrize("path", WINDOWS_PATHS)
def test_a_path_of_windows_is_never_taken_for_a_repo(
    path: str,
    checkpoint: str,
    data: str,
    raw: str,
    hub: FakeHub,
    complaint: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITER)
    train = ["--checkpoint", checkpoint, "--output", "out"]
    for main, option, *more in (
        (generate.main, "--checkpoint", "--topic", "a", "--ending", "sad"),
        (finetune.main, "--checkpoint", "--data", data, "--output", "out"),
        (finetune.main, "--data", *train),
        (finetune.main, "--push-to-hub", "--data", data, *train),
        (evaluate.main, "--checkpoint", "--data", data),
        (evaluate.main, "--data", "--checkpoint", checkpoint),
        (quantize.main, "--checkpoint", "--examples", "0"),
        (quantize.main, "--data", *train),
        (prepare_data.main, "--source", "--output", "out"),
        (prepare_data.main, "--push-to-hub", "--source", raw, "--output", "out"),
        (push.main, "--push-to-hub", "--folder", data),
    ):
        line = complaint(main, option, path, *more)
        assert re.search("not a Hub id|not the name of a repo", line)
        assert path in line
    assert hub.requests == []
    assert not Path("out").exists()
