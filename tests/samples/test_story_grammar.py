import random
import re
from collections import Counter

import pytest

from dataset import format_instruction, get_tokenizer
from samples.plots import plots
from samples.story_grammar import Tale, ending_of, tell


@pytest.fixture(scope="module")
def tales() -> list[Tale]:
    rng = random.Random(0)
    return [tell(rng) for _ in range(5_000)]


@pytest.fixture(scope="module")
def funny() -> list[Tale]:
    rng = random.Random(1)
    return [tell(rng, "funny") for _ in range(1_500)]


def test_at_least_forty_plots_each_told_and_nearly_all_stories_different(tales: list[Tale]) -> None:
    names = {plot.name for plot in plots()}
    assert len(plots()) == len(names) >= 40
    assert Counter(tale.plot for tale in tales).keys() == names
    assert len({tale.story for tale in tales}) > 0.99 * len(tales)


def test_topic_and_ending_are_independent() -> None:
    for seed in range(300):
        happy, sad = (tell(random.Random(seed), ending) for ending in ("happy", "sad"))
        assert happy.summary == sad.summary
        before, after = (
            re.sub(r"\b(happy|good|sad|bad) (feeling|dream)\b", "omen", tale.story) for tale in (happy, sad)
        )
        assert before.split("\n")[:2] == after.split("\n")[:2]
        assert before.split("\n")[2] != after.split("\n")[2]


def test_a_story_foretells_its_ending(tales: list[Tale], funny: list[Tale]) -> None:
    of = {"happy": {"happy", "good"}, "sad": {"sad", "bad"}, "funny": {"funny", "silly"}}
    for tale in tales[:500] + funny[:200]:
        moods = re.findall(r"\b(happy|good|sad|bad|funny|silly) (?:feeling|dream)\b", tale.story)
        assert len(moods) == 3
        assert set(moods) <= of[tale.ending]


def test_without_omens_nothing_but_the_turn_tells_the_ending() -> None:
    for seed in range(300):
        happy, sad = (tell(random.Random(seed), ending, omens=False) for ending in ("happy", "sad"))
        assert happy.summary == sad.summary
        assert happy.story.split("\n")[:2] == sad.story.split("\n")[:2]
        assert [ending_of(tale.story) for tale in (happy, sad)] == ["happy", "sad"]
        assert not re.search(r"\b(happy|good|sad|bad) (feeling|dream)\b", happy.story + sad.story)


def test_six_plots_have_a_third_ending(tales: list[Tale], funny: list[Tale]) -> None:
    assert len({tale.plot for tale in funny}) == 6
    assert {tale.ending for tale in tales} == {"happy", "sad"}


def test_the_grammar_can_tell_every_ending(tales: list[Tale], funny: list[Tale]) -> None:
    for tale in tales[:1_500] + funny:
        assert ending_of(tale.story) == tale.ending, tale.story
    assert ending_of("Tom went home. And that was all.") is None


def test_as_many_end_badly_as_in_the_real_records(tales: list[Tale]) -> None:
    assert sum(tale.ending == "sad" for tale in tales) / len(tales) == pytest.approx(0.121, abs=0.015)


def test_a_story_is_about_its_topic_and_reads_cleanly(tales: list[Tale], funny: list[Tale]) -> None:
    for tale in tales + funny:
        assert all(word in tale.story and word in tale.summary for word in tale.mentions), tale
        text = f"{tale.summary}\n{tale.story}"
        assert text.isascii()
        assert not re.search(r"[{}]|  | [.,!?]|\b(\w+) \1\b", text.replace("had had", "")), text
        assert not re.search(r"\b[Aa] [aeio]|\b[Aa]n [^aeiouh]", text), text
        assert text.count('"') % 2 == 0
        assert not re.search(r"^(Summary|Words|Features|Story|Random sentence):", text, re.M)


def test_prompt_and_story_fit_nanos_context(tales: list[Tale], funny: list[Tale]) -> None:
    encode = get_tokenizer(4096).encode_ordinary
    lengths = [
        len(encode(format_instruction(tale.summary, "happy"))) + len(encode(tale.story))
        for tale in tales + funny
    ]
    assert max(lengths) < 256


def test_held_out_topics_are_a_tenth_and_can_be_asked_for(tales: list[Tale]) -> None:
    assert sum(tale.held_out for tale in tales) / len(tales) == pytest.approx(0.1, abs=0.02)
    rng = random.Random(1)
    assert all(tell(rng, held_out=True).held_out for _ in range(20))
    assert not any(tell(rng, held_out=False).held_out for _ in range(50))
