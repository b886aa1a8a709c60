import re
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiktoken
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import dataset
import finetune
from dataset import (
    COLUMNS,
    ENDINGS,
    InstructionDataset,
    custom_collate_fn,
    format_instruction,
    get_tokenizer,
    load_data,
    read_examples,
    topic_of,
)
from training.loss import compute_loss


def item(*ids: int, **more: object) -> dict:
    return {"input_ids": torch.tensor(ids), **more}


def rows(*examples: tuple[str, str]) -> datasets.DatasetDict:
    columns = [{"instruction": i, "response": r, "ending": "happy"} for i, r in examples]
    return datasets.DatasetDict(train=datasets.Dataset.from_list(columns))


def test_the_prompt_byte_for_byte() -> None:
    expected = "Write a story about: a {summary} dog\nWith: sad ending\n\n### Story:\n"
    assert format_instruction("a {summary} dog", "sad") == expected
    with pytest.raises(ValueError, match="'Sad': must be happy or sad"):
        format_instruction("a dog", "Sad")


topics = st.text(min_size=1).filter(str.strip)


@given(topics, st.sampled_from(ENDINGS), st.text())
def test_reading_an_example_undoes_writing_its_prompt(topic: str, ending: str, story: str) -> None:
    columns = {"instruction": [format_instruction(topic, ending)], "response": [story], "ending": [ending]}
    assert read_examples(datasets.Dataset.from_dict(columns)) == [(topic, ending, story)]


@given(topics, st.sampled_from(ENDINGS))
def test_a_topic_is_read_from_its_prompt_too(topic: str, ending: str) -> None:
    prompt = format_instruction(topic, ending)
    for text in (prompt, prompt.strip()):
        assert topic_of(text, ending).strip() == topic.strip()
    assert topic_of(topic, ending) == topic


def test_the_worked_example_of_collation() -> None:
    batch = custom_collate_fn([item(1, 2, 3), item(4, 5, 6, 7, 8)])
    assert batch["input_ids"].tolist() == [[1, 2, 3, 50256, 50256], [4, 5, 6, 7, 8]]
    assert batch["labels"].tolist() == [[2, 3, 50256, -100, -100], [5, 6, 7, 8, 50256]]
    assert batch["input_ids"].dtype == batch["labels"].dtype == torch.int64


def test_the_mask_goes_by_length_not_by_token_value() -> None:
    batch = custom_collate_fn([item(9, 1, 9), item(1, 2, 3, 4)], pad_token_id=9, ignore_index=-1)
    assert batch["labels"].tolist() == [[1, 9, 9, -1], [2, 3, 4, 9]]


def test_a_cut_example_teaches_no_end() -> None:
    batch = custom_collate_fn([item(1, 2, 3, complete=False), item(1, 2, complete=True)])
    assert batch["labels"].tolist() == [[2, 3, -100], [2, 50256, -100]]


def test_loss_on_the_response_alone() -> None:
    batch = custom_collate_fn(
        [item(1, 2, 3, 4, prompt_length=2), item(1, 2, prompt_length=1)], loss_on="response"
    )
    assert batch["labels"].tolist() == [[-100, 3, 4, 50256], [2, 50256, -100, -100]]


def test_what_the_loss_sees_is_every_token_of_the_batch_once() -> None:
    """The mask again where it is used: all logits equal but those of the ignored positions."""
    batch = custom_collate_fn([item(1, 2, 3), item(4, 5, 6, 7, 8, complete=False)], pad_token_id=15)
    logits = torch.zeros(2, 5, 16)
    logits[0, 3:, 15] = logits[1, 4:, 15] = 99.0
    assert (batch["labels"] != -100).sum() == 3 + 4
    torch.testing.assert_close(compute_loss(logits, batch["labels"]), torch.tensor(16.0).log())


def test_the_full_tokenizer_is_gpt2() -> None:
    tokenizer = get_tokenizer()
    assert tokenizer.n_vocab == 50257
    assert tokenizer.eot_token == 50256
    assert tokenizer.encode_ordinary("Once upon a time, there was a dog.") == [
        7454,
        2402,
        257,
        640,
        11,
        612,
        373,
        257,
        3290,
        13,
    ]


@given(text=st.text(), vocab_size=st.sampled_from([257, 512, 4096, 50257]))
def test_every_vocabulary_encodes_any_text_without_loss_or_special_tokens(text: str, vocab_size: int) -> None:
    tokenizer = get_tokenizer(vocab_size)
    ids = tokenizer.encode_ordinary(text + "<|endoftext|>")
    assert tokenizer.decode_bytes(ids) == (text + "<|endoftext|>").encode()
    assert max(ids) < vocab_size - 1 == tokenizer.eot_token


def test_the_tokenizer_needs_its_file_undamaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "ranks"
    damaged.write_bytes(dataset.RANKS_FILE.read_bytes()[:-1])
    monkeypatch.setattr(dataset, "RANKS_FILE", damaged)
    get_tokenizer.cache_clear()
    with pytest.raises(OSError, match="SHA-256"):
        get_tokenizer(300)
    with pytest.raises(ValueError, match="257"):
        get_tokenizer(256)


def test_the_tokenizer_reads_what_git_writes_on_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = dataset.RANKS_FILE.read_bytes().splitlines()
    (tmp_path / "ranks").write_bytes(b"".join(line + b"\r\n" for line in lines))
    expected = get_tokenizer(600).encode_ordinary("Once upon a time")
    monkeypatch.setattr(dataset, "RANKS_FILE", tmp_path / "ranks")
    get_tokenizer.cache_clear()
    assert get_tokenizer(600).encode_ordinary("Once upon a time") == expected


def test_items_are_prompt_and_story_cut_at_max_length() -> None:
    data = rows(("ab\n", "cd"), ("ab\n", "c" * 50))
    examples = InstructionDataset("train", 20, data=data, vocab_size=257)
    whole, cut = examples[0], examples[1]
    assert whole["input_ids"].tolist() == get_tokenizer(257).encode_ordinary("ab\ncd")
    assert whole["input_ids"].dtype == torch.int64
    assert (whole["prompt_length"], whole["complete"]) == (3, True)
    assert (len(cut["input_ids"]), cut["prompt_length"], cut["complete"]) == (20, 3, False)


def test_an_example_of_exactly_max_length_is_complete() -> None:
    examples = InstructionDataset("train", 5, data=rows(("ab\n", "cd")), vocab_size=257)
    assert examples[0]["complete"]
    assert custom_collate_fn([examples[0]], 256)["labels"][0, -1] == 256


def test_batches_of_a_data_loader(data: str) -> None:
    examples = InstructionDataset("train", 384, data=data, vocab_size=512)
    batch = next(iter(DataLoader(examples, batch_size=4, collate_fn=custom_collate_fn)))  # type: ignore[arg-type]
    for row in range(4):
        ids = examples[row]["input_ids"]
        assert torch.equal(batch["input_ids"][row, : len(ids)], ids)
        assert torch.equal(batch["labels"][row, : len(ids) - 1], ids[1:])


def test_items_count_from_the_end_and_stop_at_it() -> None:
    examples = InstructionDataset("train", 20, data=rows(("a\n", "b"), ("c\n", "d")), vocab_size=257)
    assert torch.equal(examples[-1]["input_ids"], examples[1]["input_ids"])
    with pytest.raises(IndexError):
        examples[2]


def test_tokenising_happens_once_for_the_same_data_and_again_for_other(elsewhere: Path) -> None:
    first = InstructionDataset("train", 20, data=rows(("a\n", "b")), vocab_size=257)
    files = list((elsewhere / "data" / "tokens").iterdir())
    assert len(files) == 1
    before = files[0].stat().st_mtime_ns
    again = InstructionDataset("train", 20, data=rows(("a\n", "b")), vocab_size=257)
    assert files[0].stat().st_mtime_ns == before
    assert torch.equal(first[0]["input_ids"], again[0]["input_ids"])
    for data, length in ((rows(("a\n", "c")), 20), (rows(("a\nb", "")), 20), (rows(("a\n", "b")), 21)):
        InstructionDataset("train", length, data=data, vocab_size=257)
    assert len(list((elsewhere / "data" / "tokens").iterdir())) == 4


def test_a_second_start_reads_the_kept_tokens(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    InstructionDataset("train", 20, data=rows(("a\n", "b")), vocab_size=257)
    with monkeypatch.context() as without:
        without.setattr(tiktoken.Encoding, "encode_ordinary_batch", None)
        assert len(InstructionDataset("train", 20, data=rows(("a\n", "b")), vocab_size=257)) == 1
    next((elsewhere / "data" / "tokens").iterdir()).write_bytes(b"damaged")
    assert len(InstructionDataset("train", 20, data=rows(("a\n", "b")), vocab_size=257)) == 1


def test_unreadable_data_gets_one_clear_line(tmp_path: Path, checkpoint: str, complaint: Callable) -> None:
    damaged, foreign, empty, odd = (tmp_path / name for name in ("damaged", "foreign", "empty", "odd"))
    for folder in (damaged, foreign, empty, odd):
        folder.mkdir()
    (damaged / "train.parquet").write_text("no Parquet")
    datasets.Dataset.from_list([{"text": "a"}]).to_parquet(foreign / "train.parquet")
    example = {"instruction": "a", "response": None, "ending": "sad"}
    datasets.Dataset.from_list([example, example | {"response": "b"}]).to_parquet(odd / "train.parquet")
    for folder, said in (
        (odd, "response of row 0 (from 0) is empty; remove that row"),
        (damaged, "damaged, or not a Parquet file of text"),
        (empty, "holds no train.parquet"),
        (foreign, "lacks the columns instruction, response, ending"),
    ):
        answer = complaint(
            finetune.main, "--checkpoint", checkpoint, "--data", folder, "--output", tmp_path / "run"
        )
        assert str(folder) in answer
        assert said in answer


def three_rows(**other: object) -> pa.Table:
    numbers = range(3)
    columns = {
        "instruction": [format_instruction(f"Zoë {number}", "sad") for number in numbers],
        "response": [f"Story {number}." for number in numbers],
        "ending": ["sad" for _ in numbers],
    }
    return pa.table(columns | other)


@pytest.mark.parametrize(
    "form", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_text_is_read_in_any_form_that_other_programs_write(form: pa.DataType, tmp_path: Path) -> None:
    plain = three_rows()
    other = plain.select(COLUMNS[::-1]).cast(pa.schema([(name, form) for name in COLUMNS[::-1]]))
    (tmp_path / "data").mkdir()
    names = [f"data/train-0000{number}-of-00002.parquet" for number in range(2)]
    pq.write_table(other.append_column("__index_level_0__", pa.array([4, 5, 6])), tmp_path / names[0])
    pq.write_table(plain, tmp_path / names[1])
    assert pq.read_schema(tmp_path / names[0]).field("response").type == form
    assert load_data(str(tmp_path))[0]["train"].to_list() == 2 * plain.to_pylist()


BLANKS = " \n\t\u00a0" * 25_000


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (three_rows(response=[1, 2, 3]), "response holds int64, not text; write it as strings"),
        (three_rows(ending=[None] * 3), "ending holds null, not text; write it as strings"),
        (three_rows(ending=["sad", None, "sad"]), "ending of row 1 .* is empty; remove that row"),
        (three_rows(response=["a", "b", ""]), "response of row 2 .* is empty; remove that row"),
        (three_rows(instruction=["\u00a0\n\t ", "a", "b"]), "instruction of row 0 .* is empty; remove"),
        (three_rows(response=["a", f"b{BLANKS}c", "d"]), "response of row 1 .* 100,000 .*; remove"),
        (three_rows().drop_columns(["ending"]), "lacks the columns ending; add them"),
        (three_rows()[:0], "holds no rows; remove the file, or make it anew"),
    ],
)
def test_rows_that_cannot_be_learnt_are_named(
    table: pa.Table, said: str, checkpoint: str, tmp_path: Path, complaint: Callable
) -> None:
    pq.write_table(table, tmp_path / "train.parquet")
    line = complaint(finetune.main, "--checkpoint", checkpoint, "--data", tmp_path, "--output", "out")
    assert re.search(rf"{re.escape(str(tmp_path / 'train.parquet'))}: {said}", line)


def test_as_many_blanks_as_the_tokenizer_bears_are_read(tmp_path: Path) -> None:
    table = three_rows(response=["a", f"b{BLANKS[:-3]}c", "d"])
    pq.write_table(table, tmp_path / "train.parquet")
    data = load_data(str(tmp_path))[0]
    assert len(InstructionDataset("train", 99, data=data, vocab_size=257)) == 3


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_file_that_was_cut_short_is_called_damaged(
    size: int, checkpoint: str, tmp_path: Path, complaint: Callable
) -> None:
    file = tmp_path / "train.parquet"
    pq.write_table(three_rows(), file)
    file.write_bytes(file.read_bytes()[:size])
    line = complaint(finetune.main, "--checkpoint", checkpoint, "--data", tmp_path, "--output", "out")
    assert f"{file}: damaged, or not a Parquet file of text" in line


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (three_rows(response=pa.array([b"\xff"] * 3, pa.binary()).view(pa.string())), "Invalid UTF8"),
        (three_rows().append_column("ending", pa.array(["sad"] * 3)), "exists 2 times"),
    ],
    ids=["bytes that are no text", "two columns of a name"],
)
def test_a_file_that_is_no_text_is_said_in_the_words_of_its_reader(
    table: pa.Table, said: str, checkpoint: str, tmp_path: Path, complaint: Callable
) -> None:
    pq.write_table(table, tmp_path / "train.parquet")
    line = complaint(finetune.main, "--checkpoint", checkpoint, "--data", tmp_path, "--output", "out")
    assert "train.parquet: damaged, or not a Parquet file of text" in line
    assert said in line
