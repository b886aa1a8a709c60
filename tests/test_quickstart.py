import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from matplotlib.image import imread

import export
import generate
import quickstart
from chromium import launched
from common.presets import PRESETS
from dataset import ENDINGS
from generate import choose_token
from inference.sampling import Sampling
from inference.stories import Request, tell_stories
from model import GPT2, load_model
from samples.story_grammar import ending_of, tell
from static_page import compare_twenty, opened, served
from transformers_twin import compare


def test_the_whole_path_runs_on_a_few_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "out")
    for records in ("100", "200"):  # a second run replaces the first
        quickstart.main(["--output", output, "--records", records, "--topics", "3"])
        printed = capsys.readouterr().out
    for script in ("samples.write_corpus", "prepare_data.py", "finetune.py", "evaluate.py"):
        assert re.search(rf"^\$ uv run python .*{script}", printed, re.M)
    assert len(re.findall(r"^--- .* \[(?:happy|sad)\]$", printed, re.M)) == 6
    assert imread(tmp_path / "out" / "model" / "loss.png").std() > 0
    assert re.search(r"^\| preference  .*%.*%", printed, re.M)
    assert re.search(r"^\| adherence, sad .*%.*%", printed, re.M)
    generate.main(
        ["--checkpoint", f"{output}/model/last", "--topic", "a fox", "--ending", "sad", "--max-tokens", "5"]
    )
    assert capsys.readouterr().out.strip()


def test_bad_settings_get_one_clear_line(complaint: Callable) -> None:
    assert "--records 5: must be at least 100" in complaint(quickstart.main, "--records", "5")


class Count(NamedTuple):
    """Of 20 topics told with both endings; how a story ends is the grammar's word, not the judge's."""

    on_topic: int
    happy: int
    sad: int


def count(model: GPT2) -> Count:
    rng = random.Random("topics 0")
    tales = [tell(rng, held_out=True) for _ in range(20)]
    requests = [Request(tale.summary, ending, 0) for tale in tales for ending in ENDINGS]
    told = [story.text for story in tell_stories(model, requests, Sampling(temperature=0.5), choose_token)]
    twice = [tale for tale in tales for _ in ENDINGS]
    return Count(
        sum(all(word in story for word in tale.mentions) for tale, story in zip(twice, told, strict=True)),
        sum(ending_of(story) == "happy" for story in told[::2]),
        sum(ending_of(story) == "sad" for story in told[1::2]),
    )


@pytest.mark.slow
def test_stories_are_on_topic_and_end_as_asked(tmp_path: Path) -> None:
    quickstart.main(["--output", str(tmp_path / "out")])
    before, after = count(load_model(PRESETS["nano"].base)), count(load_model(tmp_path / "out/model/last"))
    assert before.on_topic <= 4
    assert after.on_topic >= 32
    assert min(after.happy, after.sad) >= 18
    export.main(["--checkpoint", str(tmp_path / "out/model/last")])
    compare(tmp_path / "out/model/last", tmp_path / "out/model/transformers")
    export.main(["--checkpoint", str(tmp_path / "out/model/last"), "--format", "page"])
    page = tmp_path / "out" / "model" / "page"
    with served(page) as address, launched() as browser, opened(browser, address) as shown:
        compare_twenty(shown, page)

    evaluation = json.loads((tmp_path / "out" / "report" / "evaluation.json").read_text())
    base, tuned = (checkpoint["metrics"] for checkpoint in evaluation["checkpoints"])
    for ending in ENDINGS:
        assert evaluation["judges"]["words"][f"adherence, {ending}"]["value"] >= 0.97
        assert tuned[f"adherence, {ending}"]["value"] >= 0.95
    assert tuned["preference"]["value"] >= 0.97
    assert base["adherence, sad"]["high"] < tuned["adherence, sad"]["low"]
    told = evaluation["checkpoints"][1]["stories"]
    known = [(story["judged"]["words"], end) for story in told if (end := ending_of(story["text"]))]
    assert len(known) >= 0.9 * len(told)
    assert sum(judged == end for judged, end in known) >= 0.97 * len(known)
