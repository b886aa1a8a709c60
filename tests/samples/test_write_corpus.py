import re
from collections.abc import Callable
from pathlib import Path

import pytest

from samples import write_corpus


def test_the_corpus_has_the_real_proportions_and_quirks(tmp_path: Path) -> None:
    write_corpus.main(["--output", str(tmp_path), "--records", "3000", "--validation-records", "50"])
    train = (tmp_path / "TinyStories-Instruct-train.txt").read_bytes()
    records = train.split(b"<|endoftext|>\n")

    def share(pattern: bytes) -> float:
        return sum(re.search(pattern, record, re.M) is not None for record in records) / len(records)

    assert share(rb"^Features: ") == pytest.approx(0.542, abs=0.03)
    assert share(rb"^Features: .*BadEnding") == pytest.approx(0.066, abs=0.015)
    assert share(rb"^Words: ") == pytest.approx(0.662, abs=0.03)
    assert share(rb"^Random sentence: ") == pytest.approx(0.3, abs=0.03)
    assert share(rb"^Summary: [^\n]*\n\Z") == pytest.approx(1 / 3, abs=0.03)
    assert share(rb"\AStory: ") > 0
    assert share(rb"^Story: \w") > 0
    assert share(rb"[.!]\Z") > 0
    with pytest.raises(UnicodeDecodeError):
        train.decode()
    assert not records[-1].endswith(b"\n")
    validation = (tmp_path / "TinyStories-Instruct-valid.txt").read_text()
    assert not re.match(r"(Summary|Words|Features|Story|Random sentence):", validation)
    assert "Story: \n\n" not in validation
    assert b"Story: \n\n" in train


def test_the_corpus_depends_on_its_seed_alone(tmp_path: Path) -> None:
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        write_corpus.main(["--output", str(tmp_path / name), "--records", "30", "--seed", seed])
    texts = [(tmp_path / name / "TinyStories-Instruct-train.txt").read_bytes() for name in "abc"]
    assert texts[0] == texts[1] != texts[2]


def test_a_corpus_without_omens_has_none(tmp_path: Path) -> None:
    told = {}
    for option in ("--omens", "--no-omens"):
        write_corpus.main(["--output", str(tmp_path / option), "--records", "200", option])
        text = (tmp_path / option / "TinyStories-Instruct-train.txt").read_bytes().decode(errors="replace")
        told[option] = len(re.findall(r"(happy|good|sad|bad) (feeling|dream)", text))
    assert told["--omens"] > 3 * 200
    assert told["--no-omens"] == 0


def test_a_corpus_replaces_its_own_files_and_nobody_elses(tmp_path: Path, complaint: Callable) -> None:
    train = "TinyStories-Instruct-train.txt"
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / train).write_text("precious")
    assert "name another" in complaint(write_corpus.main, "--output", tmp_path / "theirs")
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == [train]
    assert (tmp_path / "theirs" / train).read_text() == "precious"
    write_corpus.main(["--output", str(tmp_path / "ours"), "--records", "30"])
    size = (tmp_path / "ours" / train).stat().st_size
    (tmp_path / "ours" / "notes.txt").write_text("precious")
    write_corpus.main(["--output", str(tmp_path / "ours"), "--records", "10"])
    assert (tmp_path / "ours" / train).stat().st_size < size
    assert (tmp_path / "ours" / "notes.txt").read_text() == "precious"
