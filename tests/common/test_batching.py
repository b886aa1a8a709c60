import itertools

from hypothesis import given
from hypothesis import strategies as st

from common.batching import split_by_length

LENGTHS = st.lists(st.integers(1, 60), max_size=24)


@given(LENGTHS, st.integers(1, 200), st.integers(0, 50))
def test_groups_hold_every_place_once_and_no_more_tokens_than_allowed(
    lengths: list[int], max_tokens: int, overhead: int
) -> None:
    groups = split_by_length(lengths, max_tokens, overhead)
    assert sorted(itertools.chain(*groups)) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[i] for i in group) <= max_tokens


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(60, 200), st.integers(0, 50))
def test_no_other_cut_of_the_sorted_lengths_is_cheaper(
    lengths: list[int], max_tokens: int, overhead: int
) -> None:
    def cost(groups: list[list[int]]) -> int:
        return sum(len(group) * max(group) + overhead for group in groups)

    ordered = sorted(lengths, reverse=True)
    cheapest = min(
        cost(groups)
        for cuts in itertools.product([False, True], repeat=len(ordered) - 1)
        for ends in [[i for i, cut in enumerate(cuts, 1) if cut]]
        for groups in [[ordered[a:b] for a, b in itertools.pairwise([0, *ends, len(ordered)])]]
        if all(len(group) * group[0] <= max_tokens for group in groups)
    )
    found = split_by_length(lengths, max_tokens, overhead)
    assert cost([[lengths[i] for i in group] for group in found]) == cheapest


def test_an_example_of_grouping() -> None:
    assert split_by_length([30, 90, 31, 90], 1000, 10) == [[1, 3], [2, 0]]
