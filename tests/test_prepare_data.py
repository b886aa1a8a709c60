import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest

import prepare_data
from dataset import load_data
from preparation.records import field
from prepare_data import choose_examples
from samples.story_grammar import ending_of


def test_every_record_of_the_smaller_class_is_kept_and_as_many_of_the_other() -> None:
    sad = np.arange(1000) % 10 == 0
    kept = choose_examples(sad, True, np.random.default_rng(0))
    assert sorted(kept[sad[kept]]) == list(np.flatnonzero(sad))
    assert len(kept) == 200
    assert len(set(kept)) == 200
    assert list(kept) != sorted(kept)
    assert not np.array_equal(kept, choose_examples(sad, True, np.random.default_rng(1)))


def prepare(raw: str, output: Path, *arguments: str) -> tuple[datasets.DatasetDict, dict]:
    prepare_data.main(["--source", raw, "--output", str(output), *arguments])
    return load_data(str(output))[0], json.loads((output / "stats.json").read_text())["splits"]


def test_the_prepared_set_is_balanced_and_the_report_adds_up(raw: str, tmp_path: Path) -> None:
    data, stats = prepare(raw, tmp_path / "out")
    for split_name in ("train", "validation"):
        counts = stats[split_name]
        endings = Counter(data[split_name]["ending"])
        assert endings["happy"] == endings["sad"] == counts["sad"]
        assert endings == {"happy": counts["kept happy"], "sad": counts["kept sad"]}
        skipped = sum(number for name, number in counts.items() if name.startswith("skipped"))
        assert counts["records"] == counts["happy"] + counts["sad"] + skipped
    assert stats["train"]["skipped: unterminated"] == stats["train"]["skipped: invalid UTF-8"] == 1
    assert stats["train"]["skipped: no story"] == stats["validation"]["skipped: cut-off start"] == 1
    readme = (tmp_path / "out" / "README.md").read_text()
    assert f"| sad | {stats['train']['sad']:,} | {stats['validation']['sad']:,} |" in readme


def test_the_label_is_right_for_every_record_that_has_features(raw: str, tmp_path: Path) -> None:
    data, stats = prepare(raw, tmp_path / "out", "--no-balance", "--unlabelled", "drop")
    rows = [row for split_name in data for row in data[split_name]]
    assert all(ending_of(row["response"]) == row["ending"] for row in rows)
    assert all(
        stats[name]["skipped: without features"] == stats[name]["without features"] > 50 for name in stats
    )


def test_the_published_rule_calls_unlabelled_sad_stories_happy(raw: str, tmp_path: Path) -> None:
    data, _ = prepare(raw, tmp_path / "out", "--no-balance")
    wrong = [row["ending"] for row in data["train"] if ending_of(row["response"]) != row["ending"]]
    assert set(wrong) == {"happy"}


def test_no_field_text_in_any_story(raw: str, tmp_path: Path) -> None:
    data, _ = prepare(raw, tmp_path / "out", "--no-balance")
    for row in data["train"]:
        assert not any(field(line) for line in row["response"].splitlines())
        assert "<|endoftext|>" not in row["response"]


def test_the_seed_alone_decides(raw: str, tmp_path: Path) -> None:
    first, _ = prepare(raw, tmp_path / "first")
    other_seed, _ = prepare(raw, tmp_path / "second", "--seed", "1")
    again, _ = prepare(raw, tmp_path / "third")
    assert first["train"].to_list() == again["train"].to_list()
    assert first["train"].to_list() != other_seed["train"].to_list()


def test_limit_counts_records_of_each_split(raw: str, tmp_path: Path) -> None:
    _, stats = prepare(raw, tmp_path / "out", "--limit", "20", "--no-balance")
    assert [counts["records"] for counts in stats.values()] == [20, 20]


def test_crlf_files_give_the_same_examples(raw: str, tmp_path: Path) -> None:
    windows = tmp_path / "windows"
    windows.mkdir()
    for file in Path(raw).iterdir():
        (windows / file.name).write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    plain, _ = prepare(raw, tmp_path / "a")
    crlf, _ = prepare(str(windows), tmp_path / "b")
    assert plain["train"].to_list() == crlf["train"].to_list()


def test_a_split_without_examples_is_left_out(raw: str, tmp_path: Path) -> None:
    source = shutil.copytree(raw, tmp_path / "source")
    (source / "TinyStories-Instruct-valid.txt").write_text("Summary: a\n<|endoftext|>\n")
    data, stats = prepare(str(source), tmp_path / "out")
    assert list(data) == ["train"]
    assert stats["validation"]["skipped: no story"] == 1


def test_an_existing_output_is_kept_unless_overwritten(raw: str, tmp_path: Path, complaint: Callable) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "mine.txt").write_text("precious")
    for arguments, said in (([], "--overwrite"), (["--overwrite"], "something else than a data set")):
        assert said in complaint(prepare_data.main, "--source", raw, "--output", output, *arguments)
        assert (output / "mine.txt").read_text() == "precious"
    first, _ = prepare(raw, tmp_path / "data")
    second, _ = prepare(raw, tmp_path / "data", "--overwrite", "--seed", "1")
    assert first["train"].to_list() != second["train"].to_list()


def test_a_folder_name_is_no_pattern(raw: str, tmp_path: Path) -> None:
    shutil.copytree(raw, tmp_path / "raw1")
    shutil.copytree(raw, tmp_path / "raw[1]")
    _, stats = prepare(str(tmp_path / "raw[1]"), tmp_path / "out")
    assert stats["train"]["records"] == 203


def test_the_splits_are_drawn_differently(raw: str, tmp_path: Path) -> None:
    source = shutil.copytree(raw, tmp_path / "source")
    shutil.copy(source / "TinyStories-Instruct-train.txt", source / "TinyStories-Instruct-valid.txt")
    data, _ = prepare(str(source), tmp_path / "out")
    assert data["train"].to_list() != data["validation"].to_list()


def test_a_run_that_fails_leaves_nothing_behind(raw: str, tmp_path: Path, complaint: Callable) -> None:
    source = shutil.copytree(raw, tmp_path / "source")
    (source / "TinyStories-Instruct-valid.txt").unlink()
    place = tmp_path / "place"
    place.mkdir()
    answer = complaint(prepare_data.main, "--source", source, "--output", place / "out")
    assert "TinyStories-Instruct-valid.txt" in answer
    assert list(place.iterdir()) == []
    (source / "TinyStories-Instruct-valid.txt").write_text("")
    (source / "TinyStories-Instruct-train.txt").write_text("Summary: a\nStory: b\n<|endoftext|>\n")
    answer = complaint(prepare_data.main, "--source", source, "--output", place / "out")
    assert "--no-balance" in answer
    assert list(place.iterdir()) == []


def test_bad_settings_get_one_clear_line(raw: str, tmp_path: Path, complaint: Callable) -> None:
    assert "--limit 0" in complaint(prepare_data.main, "--limit", "0")
    assert "--unlabelled" in complaint(prepare_data.main, "--unlabelled", "maybe")
    assert "TinyStories-Instruct-train.txt" in complaint(prepare_data.main, "--source", tmp_path)
    for missing in ("nothing-here", tmp_path / "nothing-here", "a b/c"):
        assert "no such folder or file, and not a Hub id" in complaint(prepare_data.main, "--source", missing)
    (tmp_path / "a_file").touch()
    assert "a_file cannot be written" in complaint(
        prepare_data.main, "--source", raw, "--output", tmp_path / "a_file" / "out"
    )


@pytest.mark.parametrize("piece", [1 << 10, 1 << 14])
def test_processes_give_the_same_as_one(
    piece: int, raw: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_data, "PARALLEL_FROM", 0)
    monkeypatch.setattr(prepare_data, "PIECE", piece)
    prepare_data.main(["--source", raw, "--output", str(tmp_path / "out")])
    for file in Path(data).iterdir():
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes()
