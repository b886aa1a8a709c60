import re
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.image import imread

import generate
import quickstart


def test_the_whole_path_runs_on_a_few_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "out")
    for _ in range(2):  # a second run replaces the first
        quickstart.main(["--output", output, "--records", "400", "--topics", "3"])
        printed = capsys.readouterr().out
    for script in ("samples.write_corpus", "prepare_data.py", "finetune.py"):
        assert re.search(rf"^\$ uv run python .*{script}", printed, re.M)
    assert len(re.findall(r"^--- .* \[(?:happy|sad)\]$", printed, re.M)) == 6
    assert imread(tmp_path / "out" / "model" / "loss.png").std() > 0
    generate.main(
        ["--checkpoint", f"{output}/model/last", "--topic", "a fox", "--ending", "sad", "--max-tokens", "5"]
    )
    assert capsys.readouterr().out.strip()


def test_bad_settings_get_one_clear_line(complaint: Callable) -> None:
    assert "--records 5: must be at least 100" in complaint(quickstart.main, "--records", "5")


@pytest.mark.slow
def test_stories_are_on_topic_and_end_as_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quickstart.main(["--output", str(tmp_path / "out"), "--topics", "20"])
    counts = r"(\d+) of 40 are about .*; (\d+) of 20 end happy when asked to; (\d+) of 20 end sad"
    before, after = re.findall(counts, capsys.readouterr().out)
    assert int(before[0]) <= 4
    assert int(after[0]) >= 32
    assert min(map(int, after[1:])) >= 18
