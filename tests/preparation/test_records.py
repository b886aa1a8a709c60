import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from dataset import format_instruction
from preparation.records import Record, Skipped, field, parse_record, split_records, whole_records
from prepare_data import parsed_examples_generator

SUMMARY = "Tom finds a red shoe."


def record(*lines: str) -> Record:
    return parse_record("\n".join(lines).encode())


def test_fields_before_the_story() -> None:
    parsed = record(
        "Features: Dialogue, BadEnding", "Words: red", f"Summary: {SUMMARY}", "Story: ", "", "Once.", "End."
    )
    assert parsed == Record("Once.\nEnd.", SUMMARY, ("Dialogue", "BadEnding"))


def test_a_summary_behind_the_story_becomes_the_topic_and_leaves_the_story() -> None:
    parsed = record("Words: red", "Story: Once.", "End.", f"Summary: {SUMMARY}", "Features: Twist", "")
    assert parsed == Record("Once.\nEnd.", SUMMARY, ("Twist",))


@pytest.mark.parametrize(
    "start", [["Story: Once."], ["Story:", "Once."], ["Story: ", "", "Once."], ["Story:\tOnce. "]]
)
def test_story_text_may_start_on_its_line_the_next_or_after_a_blank_one(start: list[str]) -> None:
    assert record(f"Summary: {SUMMARY}", *start, "End.").story.split() == ["Once.", "End."]


def test_a_story_line_that_looks_like_a_field_stays() -> None:
    parsed = record(
        f"Summary: {SUMMARY}", "Story:", "Tom wrote:", "Words: keep out", "Story: mine", "He laughed."
    )
    assert parsed.story == "Tom wrote:\nWords: keep out\nStory: mine\nHe laughed."


def test_only_the_closing_block_leaves_the_story() -> None:
    parsed = record(
        "Story:",
        "The sign said",
        "Features: BadEnding",
        "and no more.",
        "",
        f"Summary: {SUMMARY}",
        "Words: a",
    )
    assert parsed == Record("The sign said\nFeatures: BadEnding\nand no more.", SUMMARY, None)


def test_a_field_continues_on_the_next_line_before_the_story() -> None:
    assert record("Summary:", "Tom finds", "a red shoe.", "Story: Once.").summary == SUMMARY


def test_stray_blanks_around_fields() -> None:
    assert record(
        "", f"  Summary:   {SUMMARY}  ", " ", "Features:  Twist ,BadEnding ", "Story:   Once.  ", "  "
    ) == Record("Once.", SUMMARY, ("Twist", "BadEnding"))


def test_an_unbalanced_quote_swallows_nothing() -> None:
    parsed = record('Random sentence: Spot said, "Let us go.', f'Summary: "{SUMMARY}', "Story: Once.")
    assert parsed == Record("Once.", f'"{SUMMARY}', None)


@pytest.mark.parametrize(
    ("features", "ending"),
    [
        ("BadEnding", "sad"),
        ("Dialogue, BadEnding,Twist", "sad"),
        ("NotBadEnding", "happy"),
        ("BadEndings", "happy"),
        ("", "happy"),
        (None, "happy"),
    ],
)
def test_bad_ending_is_matched_as_an_item_of_the_features(features: str | None, ending: str) -> None:
    lines = [] if features is None else [f"Features: {features}"]
    assert record(f"Summary: {SUMMARY}", "Story: A BadEnding, he said.", *lines).ending == ending


def test_the_first_field_that_is_not_empty_counts() -> None:
    parsed = record(
        "Summary: ", "Features:", "Story: Once.", f"Summary: {SUMMARY}", "Features: BadEnding", "Summary: no"
    )
    assert parsed == Record("Once.", SUMMARY, ("BadEnding",))


def test_a_byte_order_mark_is_no_text() -> None:
    assert record("\ufeffSummary: a", "Story: b").summary == "a"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["and so they went home.", f"Summary: {SUMMARY}", "Story: Once."], "cut-off start"),
        ([f"Summary: {SUMMARY}", "Words: a"], "no story"),
        ([f"Summary: {SUMMARY}", "Story: ", ""], "empty story"),
        ([f"Summary: {SUMMARY}", "Story: ", "Words: a"], "empty story"),
        (["Words: a", "Story: Once."], "no summary"),
        (["Summary: ", "Story: Once."], "empty summary"),
        ([f"Summary: {SUMMARY}", "Story: Tom\ufffds shoe."], "invalid UTF-8"),
        ([f"Summary: {SUMMARY}", "Features: Bad\ufffdEnding", "Story: Once."], "invalid UTF-8"),
    ],
)
def test_a_record_without_story_or_summary_is_skipped_by_reason(lines: list[str], reason: str) -> None:
    with pytest.raises(Skipped, match=reason):
        record(*lines)


def split(text: str) -> tuple[list[tuple[int, bytes]], Counter]:
    counts: Counter[str] = Counter()
    return list(split_records(text.encode(), counts)), counts


def blocks(text: str, size: int = 1 << 20) -> list[bytes]:
    raw = text.encode(errors="surrogatepass")
    return [raw[start : start + size] for start in range(0, len(raw), size)]


def test_the_end_marker_alone_behind_text_or_before_text() -> None:
    records, counts = split("a\n<|endoftext|>\nb\nc<|endoftext|>\nd<|endoftext|>e\n<|endoftext|>\n")
    assert [text.split() for _, text in records] == [[b"a"], [b"b", b"c"], [b"d"], [b"e"]]
    assert counts == {"rows": 6}


def test_an_unterminated_last_record_is_dropped_and_counted() -> None:
    records, counts = split("a\n<|endoftext|>\nSummary: b\nStory: c")
    assert records == [(0, b"a\n")]
    assert counts == {"rows": 4, "records": 1, "skipped: unterminated": 1}
    assert split("a\n<|endoftext|>\n \n")[1] == {"rows": 3}
    assert split("") == ([], {"rows": 0})


def test_pieces_end_behind_a_record_and_make_up_the_text() -> None:
    text = "".join(f"{'x' * (i % 7)}\n<|endoftext|>\n" for i in range(50)) + "rest"
    pieces = list(whole_records(blocks(text, 9), size=100))
    assert b"".join(piece for _, piece in pieces) == text.encode()
    assert all(piece.endswith(b"<|endoftext|>") for _, piece in pieces[:-1])
    assert [start for start, _ in pieces] == [
        sum(len(piece) for _, piece in pieces[:i]) for i in range(len(pieces))
    ]
    assert len(pieces) > 5


def test_a_file_without_end_markers_is_refused_before_memory_is_full() -> None:
    endless = (b"Once upon a time. " for _ in itertools.count())
    with pytest.raises(InputError, match="not TinyStoriesInstruct"):
        list(whole_records(endless, 1000))


words = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=20)
texts = words.map(str.strip).filter(
    lambda text: text and not field(text) and "<|" not in text and "\ufffd" not in text
)


@given(
    story=st.lists(texts, min_size=1, max_size=5),
    summary=texts,
    others=st.lists(
        st.sampled_from(["Words: a, b", "Features: Twist, BadEnding", "Random sentence: x"]), unique=True
    ),
    before=st.integers(0, 4),
    blanks=st.integers(0, 2),
    on_the_line=st.booleans(),
    marker_behind=st.booleans(),
    newline=st.sampled_from(["\n", "\r\n"]),
    block=st.integers(1, 50),
    seed=st.integers(0, 9),
)
def test_any_layout_of_a_record_gives_the_same_example(
    story, summary, others, before, blanks, on_the_line, marker_behind, newline, block, seed
) -> None:
    fields = [f"Summary: {summary}", *others]
    random.Random(seed).shuffle(fields)
    text = [f"Story: {story[0]}", *story[1:]] if on_the_line else ["Story: ", *[""] * blanks, *story]
    lines = fields[:before] + text + fields[before:]
    whole = newline.join(lines) + ("" if marker_behind else newline) + "<|endoftext|>" + newline
    examples = list(parsed_examples_generator(blocks=blocks(whole * 2, block)))
    ending = "sad" if "Features: Twist, BadEnding" in others else "happy"
    expected = {
        "instruction": format_instruction(summary, ending),
        "response": "\n".join(story).strip(),
        "ending": ending,
    }
    assert examples == [expected, expected]


@given(
    st.lists(
        st.sampled_from(
            ["Summary: a", "Story: b", "Features: c", "", " ", "text", "text<|endoftext|>", "<|endoftext|>"]
        )
    )
)
def test_every_record_is_yielded_or_counted_and_no_closing_field_stays(rows: list[str]) -> None:
    counts: Counter[str] = Counter()
    text = "".join(f"{row}\n" for row in rows)
    examples = list(parsed_examples_generator(blocks=blocks(text), counts=counts))
    skipped = sum(number for name, number in counts.items() if name.startswith("skipped"))
    assert counts["rows"] == len(rows)
    assert counts["records"] == len(examples) + skipped
    assert counts["happy"] + counts["sad"] == len(examples)
    for example in examples:
        last = example["response"].splitlines()[-1]
        assert not last.startswith(("Summary:", "Features:"))
