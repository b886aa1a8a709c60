"""Sequences of different lengths, in groups that hold little padding."""

from collections.abc import Sequence


def split_by_length(lengths: Sequence[int], max_tokens: int, overhead: int) -> list[list[int]]:
    """Places in `lengths`, in groups that waste least: the longest first, neighbours in length together.

    A group of n examples, padded to its longest, T, takes n T tokens, at most `max_tokens` (unless it is
    one example), and `overhead` more, the tokens that could be computed in the time a further group costs.
    The cheapest of all ways to cut the sorted lengths, by dynamic programming. With overhead 10:
        [30, 90, 31, 90] -> [[1, 3], [2, 0]]: 180 + 62 tokens, where one group would take 360
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    cost = [0.0] + [float("inf")] * len(order)  # of the first j examples, at best
    cut = [0] * (len(order) + 1)  # where their last group begins then
    for i, longest in enumerate(order):
        rows = max(max_tokens // lengths[longest], 1)
        for j in range(i + 1, min(i + rows, len(order)) + 1):
            total = cost[i] + (j - i) * lengths[longest] + overhead
            if total < cost[j]:
                cost[j], cut[j] = total, i
    groups, end = [], len(order)
    while end:
        groups.append(order[cut[end] : end])
        end = cut[end]
    return groups[::-1]
