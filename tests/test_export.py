"""The command line that exports: where it writes, what it refuses, what it sends."""

from collections.abc import Callable
from pathlib import Path

import pytest

import export
from common.int8 import quantize
from dataset import taught
from fake_hub import WRITER, FakeHub
from hub_user import STORY, User
from tiny import tiny_model


def test_it_writes_beside_the_checkpoint_under_the_runs_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_model().save_pretrained(tmp_path / "sft_tiny" / "best")
    export.main(["--checkpoint", str(tmp_path / "sft_tiny" / "best"), "--format", "gguf"])
    folder = tmp_path / "sft_tiny" / "gguf"
    names = sorted(file.name for file in folder.iterdir())
    ggufs = [f"sft_tiny-{kind}.gguf" for kind in ("F16", "F32", "Q8_0")]
    assert names == ["Modelfile", "README.md", "export.json", "params", *ggufs, "template"]
    said = capsys.readouterr().out
    assert all(str(folder / name) in said for name in names)
    (folder / "sft_tiny-Q4_K_M.gguf").touch()  # somebody else's
    export.main(["--checkpoint", str(tmp_path / "sft_tiny" / "best"), "--format", "gguf", "--overwrite"])
    assert (folder / "sft_tiny-Q4_K_M.gguf").exists()


@pytest.mark.parametrize(
    ("checkpoint", "repo", "name"),
    [
        ("runs/my run/best", None, "my-run"),
        ("runs/tales/transformers", None, "tales"),
        ("runs/tales/last/model.safetensors", None, "tales"),
        ("you/tales/v2@main", None, "tales"),
        ("runs/tales/best", "you/Stories-GGUF", "Stories"),
    ],
)
def test_a_model_is_called_by_its_repo_or_its_run(checkpoint: str, repo: str | None, name: str) -> None:
    Path("runs/tales/last").mkdir(parents=True)
    Path("runs/tales/last/model.safetensors").touch()
    assert export.name_of(checkpoint, repo) == name


def test_bad_input_gets_one_clear_line(complaint: Callable, checkpoint: str, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        return str(complaint(export.main, *arguments))

    small = tiny_model()
    quantize(small)
    small.save_pretrained(tmp_path / "int8")
    assert "has int8 weights" in refused("--checkpoint", tmp_path / "int8", "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "tokenizer.json").touch()
    there = ("--checkpoint", checkpoint, "--output", tmp_path / "theirs")
    assert f"--output {tmp_path / 'theirs'}: is there already; name another, or add" in refused(*there)
    assert "holds something else than an export" in refused(*there, "--overwrite")
    assert "--format" in refused("--format", "onnx")
    assert "no such file" in refused("--checkpoint", tmp_path / "nothing")
    assert "is where the checkpoint lies" in refused("--checkpoint", checkpoint, "--output", checkpoint)
    tiny_model(embedding_dim=36).save_pretrained(tmp_path / "odd")
    odd = refused("--checkpoint", tmp_path / "odd", "--output", tmp_path / "out", "--format", "gguf")
    assert "embedding_dim 36 is no multiple of 32" in odd
    page = ("--output", tmp_path / "out", "--format", "page", "--checkpoint")
    assert "see deploy/README.md" in refused(*page, checkpoint, "--push-to-hub", "you/page")
    free = tiny_model()
    free.taught = taught(())
    free.save_pretrained(tmp_path / "free")
    assert "was taught no endings to choose from" in refused(*page, tmp_path / "free")


@pytest.mark.parametrize("format", ["transformers", "gguf"])
def test_what_was_pushed_is_what_was_written(
    format: str, hub: FakeHub, checkpoint: str, tmp_path: Path
) -> None:
    author = User(tmp_path / "author", token=WRITER)
    given = ("--checkpoint", checkpoint, "--output", "out", "--format", format)
    author.succeed("export.py", *given, "--push-to-hub", "author/tales-GGUF")
    there = hub.repos["model", "author/tales-GGUF"]
    written = {file.name: file.read_bytes() for file in (author.place / "out").iterdir()}
    del written["export.json"]
    assert there.commits[there.main] == written | {".gitattributes": b""}
    if format == "gguf":
        assert "tales-Q8_0.gguf" in written
    else:
        assert User(tmp_path / "reader").succeed(*STORY, "--checkpoint", "author/tales-GGUF").stdout
    assert (
        "pushed out to"
        in author.succeed("sharing.push", "--folder", "out", "--push-to-hub", "author/tales-GGUF").stdout
    )
