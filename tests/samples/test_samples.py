import random
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dataset import format_instruction, get_tokenizer
from model import load_model
from samples import pretrain_nano, write_corpus
from samples.story_grammar import FRAMES, Tale, ending_of, tell
from samples.words import Frame


@pytest.fixture(scope="module")
def tales() -> list[Tale]:
    rng = random.Random(0)
    return [tell(rng) for _ in range(5_000)]


def test_at_least_forty_frames_each_told_and_nearly_all_stories_different(tales: list[Tale]) -> None:
    assert len(FRAMES) >= 40
    assert len({frame.key for frame in FRAMES}) == len(FRAMES)
    assert Counter(tale.frame for tale in tales).keys() == {frame.key for frame in FRAMES}
    assert len({tale.story for tale in tales}) > 0.99 * len(tales)


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.key)
def test_a_frame_offers_variety_and_names_what_it_is_about(frame: Frame) -> None:
    assert len(frame.things) >= 4
    assert len(frame.summaries) >= 4
    assert min(len(frame.happy), len(frame.sad)) >= 3
    assert all("{name}" in summary and "{thing}" in summary for summary in frame.summaries)


def test_topic_and_ending_are_independent() -> None:
    for seed in range(300):
        happy, sad = (tell(random.Random(seed), ending) for ending in ("happy", "sad"))
        assert happy.summary == sad.summary
        before, after = (
            re.sub(r"\b(happy|good|sad|bad) (feeling|dream)\b", "omen", tale.story) for tale in (happy, sad)
        )
        assert before.split("\n")[:2] == after.split("\n")[:2]
        assert before.split("\n")[2] != after.split("\n")[2]


def test_a_story_foretells_its_ending(tales: list[Tale]) -> None:
    for tale in tales[:500]:
        moods = re.findall(r"\b(happy|good|sad|bad) (?:feeling|dream)\b", tale.story)
        assert len(moods) == 3
        assert set(moods) <= {"happy": {"happy", "good"}, "sad": {"sad", "bad"}}[tale.ending]


def test_the_grammar_can_tell_every_ending(tales: list[Tale]) -> None:
    for tale in tales[:1_500]:
        assert ending_of(tale.story) == tale.ending, tale.story
    assert ending_of("Tom went home. And that was all.") is None


def test_as_many_end_badly_as_in_the_real_records(tales: list[Tale]) -> None:
    assert sum(tale.ending == "sad" for tale in tales) / len(tales) == pytest.approx(0.121, abs=0.015)


def test_a_story_is_about_its_topic_and_reads_cleanly(tales: list[Tale]) -> None:
    for tale in tales:
        assert all(word in tale.story and word in tale.summary for word in tale.mentions), tale
        text = f"{tale.summary}\n{tale.story}"
        assert text.isascii()
        assert not re.search(r"[{}]|  | [.,!?]|\b(\w+) \1\b", text.replace("had had", "")), text
        assert not re.search(r"\b[Aa] [aeio]|\b[Aa]n [^aeiouh]", text), text
        assert text.count('"') % 2 == 0
        assert not re.search(r"^(Summary|Words|Features|Story|Random sentence):", text, re.M)


def test_prompt_and_story_fit_nanos_context(tales: list[Tale]) -> None:
    encode = get_tokenizer(4096).encode_ordinary
    lengths = [
        len(encode(format_instruction(tale.summary, "happy"))) + len(encode(tale.story)) for tale in tales
    ]
    assert max(lengths) < 256


def test_held_out_topics_are_a_tenth_and_can_be_asked_for(tales: list[Tale]) -> None:
    assert sum(tale.held_out for tale in tales) / len(tales) == pytest.approx(0.1, abs=0.02)
    rng = random.Random(1)
    assert all(tell(rng, held_out=True).held_out for _ in range(20))
    assert not any(tell(rng, held_out=False).held_out for _ in range(50))


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


def test_the_base_is_pre_trained_on_plain_stories_in_half_precision(tmp_path: Path) -> None:
    pretrain_nano.main(["--steps", "2", "--batch-size", "1", "--output", str(tmp_path / "base")])
    stored = load_file(tmp_path / "base" / "model.safetensors")
    assert {weight.dtype for weight in stored.values()} == {torch.float16}
    assert load_model(tmp_path / "base").output_layer.weight.dtype == torch.float32
    batch = next(pretrain_nano.story_batches(pretrain_nano.Settings(batch_size=4), 200, 4096))
    stories = get_tokenizer(4096).decode(batch.flatten().tolist()).split("<|endoftext|>")[:-1]
    assert len(stories) > 3
    assert all(ending_of(story) for story in stories)
    assert "Write a story about" not in "".join(stories)


def test_the_corpus_depends_on_its_seed_alone(tmp_path: Path) -> None:
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        write_corpus.main(["--output", str(tmp_path / name), "--records", "30", "--seed", seed])
    texts = [(tmp_path / name / "TinyStories-Instruct-train.txt").read_bytes() for name in "abc"]
    assert texts[0] == texts[1] != texts[2]
