import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard, ModelCard

import finetune
import prepare_data
from fake_hub import FakeHub
from sharing import cards
from training import run_folder


@pytest.fixture
def stats(data: str) -> dict:
    return json.loads((Path(data) / "stats.json").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, checkpoint: str, data: str) -> Path:
    output = tmp_path_factory.mktemp("run")
    train = ["--checkpoint", checkpoint, "--data", data, "--output", str(output), "--epochs", "2"]
    finetune.main([*train, "--log-every", "1", "--batch-size", "4"])
    return output


def read(run: Path) -> tuple[dict, list[dict]]:
    return json.loads((run / "run.json").read_text()), run_folder.read_metrics(run)


def metadata(text: str) -> Any:
    """A model card's, as huggingface_hub reads it."""
    return ModelCard(text).data


def test_a_data_cards_numbers_are_those_of_the_files(data: str, stats: dict) -> None:
    card = DatasetCard.load(Path(data) / "README.md")
    metadata = card.data.to_dict()
    assert (metadata["license"], metadata["task_categories"]) == ("cdla-sharing-1.0", ["text-generation"])
    assert metadata["size_categories"] == "n<1K"
    for split in metadata["dataset_info"]["splits"]:
        table = pq.read_table(Path(data) / f"{split['name']}.parquet")
        assert (split["num_examples"], split["num_bytes"]) == (table.num_rows, table.nbytes)
    files = [Path(data) / f"{split}.parquet" for split in ("train", "validation")]
    assert metadata["dataset_info"]["download_size"] == sum(file.stat().st_size for file in files)
    for split, counts in stats["splits"].items():
        for name, count in counts.items():
            row = next(line for line in card.text.splitlines() if line.startswith(f"| {name} |"))
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            assert cells[1 + list(stats["splits"]).index(split)] == f"{count:,}"


def test_a_data_card_says_what_was_done_and_from_what(stats: dict) -> None:
    settings = stats["settings"] | {"unlabelled": "drop", "balance": False}
    changes = {"settings": settings, "source": "some/texts", "commit": "abc123"}
    card = DatasetCard(cards.data_card(stats | changes))
    assert card.data.to_dict()["source_datasets"] == ["some/texts"]
    for said in (
        "`some/texts`",
        "`abc123`",
        "were left out",
        "not balanced",
        f"| seed | {settings['seed']} |",
    ):
        assert said in card.text


def test_the_path_of_a_local_source_stays_here(tmp_path: Path, raw: str) -> None:
    prepare_data.main(["--source", raw, "--output", str(tmp_path / "data")])
    for file in ("README.md", "stats.json"):
        assert str(Path(raw).parent) not in (tmp_path / "data" / file).read_text()


@pytest.mark.parametrize(
    ("examples", "category"),
    [
        (1, "n<1K"),
        (1_000, "1K<n<10K"),
        (324_984, "100K<n<1M"),
        (2_500_000, "1M<n<10M"),
        (10**7, "10M<n<100M"),
    ],
)
def test_size_categories(examples: int, category: str) -> None:
    assert cards.size_category(examples) == category


def test_a_model_cards_results_are_those_of_its_step(run: Path) -> None:
    _, metrics = read(run)
    losses = [line["validation_loss"] for line in metrics if "validation_loss" in line]
    for folder, loss in (("epoch_1", losses[0]), ("epoch_2", losses[1]), ("best", min(losses))):
        card = ModelCard.load(run / folder / "README.md")
        results = {result.metric_type: result.metric_value for result in card.data.eval_results or []}
        assert results == {"loss": loss, "perplexity": math.exp(loss)}
        assert card.data.library_name == "pytorch"
        assert card.data.pipeline_tag == "text-generation"
        assert f"{loss:.4f} |" in card.text
        assert "as asked: not measured" in card.text
    first = [line["loss"] for line in metrics if "loss" in line and line["epoch"] == 1]
    assert f"| 1 | {len(first)} | {first[-1]:.4f} | {losses[0]:.4f} |" in card.text


def test_a_model_card_names_what_is_on_the_hub_and_no_local_path(run: Path) -> None:
    report, metrics = read(run)
    text = cards.model_card(report, metrics, metrics[-1]["step"])
    assert (metadata(text).base_model, metadata(text).datasets) == (None, None)
    assert str(Path(report["base"]["name"]).parent) not in text
    report["base"] = {"name": "some/base@v1", "commit": "abc"}
    report["data"] |= {"name": "some/data", "commit": "def"}
    data = metadata(cards.model_card(report, metrics, metrics[-1]["step"]))
    assert (data.base_model, data.datasets) == ("some/base", "some/data")
    assert data.eval_results[0].dataset_revision == "def"


def test_measured_endings_are_results_too(run: Path) -> None:
    report, metrics = read(run)
    plain = cards.model_card(report, metrics, metrics[-1]["step"])
    text = cards.with_adherence(plain, "some/data", "abc", {"happy": 0.5, "sad": 0.25}, "half. And so on")
    text = cards.with_adherence(text, "some/data", "abc", {"happy": 0.975, "sad": 1.0}, "nearly all")  # anew
    assert "Stories that end as asked: nearly all. Loss" in text
    assert "half" not in text
    before, after = (metadata(card).eval_results for card in (plain, text))
    assert after[: len(before)] == before
    assert len(after) == len(before) + 2
    measured = {result.metric_type: result.metric_value for result in after[len(before) :]}
    assert measured == {"happy endings as asked": 0.975, "sad endings as asked": 1.0}
    assert (after[-1].dataset_type, after[-1].dataset_revision) == ("some/data", "abc")
    assert text.partition("## How")[2] == plain.partition("## How")[2]
    with pytest.raises(ValueError, match="--update-card"):
        cards.with_adherence("# Another card\n", "some/data", None, {}, "")


def test_a_card_tells_of_its_step_and_what_was_before_it(run: Path) -> None:
    report, metrics = read(run)
    first, second = [line for line in metrics if "validation_loss" in line]
    text = cards.model_card(report, metrics, first["step"])
    assert metadata(text).eval_results[0].metric_value == first["validation_loss"]
    assert f"{second['validation_loss']:.4f}" not in text
    between = cards.model_card(report, metrics, first["step"] + 1)
    assert metadata(between).eval_results is None
    assert f"{first['validation_loss']:.4f} |" in between


def test_the_hub_accepts_both(run: Path, data: str, hub: FakeHub) -> None:
    ModelCard.load(run / "best" / "README.md").validate()
    DatasetCard.load(Path(data) / "README.md").validate()
    assert hub.requests == ["POST /api/validate-yaml"] * 2
