"""How a story is drawn, and the random numbers that draw it: without torch."""

from dataclasses import dataclass

MOST_STRENGTH = 100.0
LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Sampling:
    """How a story is told: what decides on its tokens, and their number. Raises ValueError if out of
    range."""

    max_new_tokens: int = 200
    temperature: float = 1.0  # 0 is greedy
    top_k: int | None = 50  # None: the whole vocabulary
    top_p: float = 1.0
    ending_strength: float = 1.0  # 1 is plain; more pushes away from the other endings

    def __post_init__(self) -> None:
        k = self.top_k
        if not (
            self.temperature >= 0
            and 0 <= self.top_p <= 1
            and (k is None or k >= 1)
            and self.max_new_tokens >= 1
            and 0 <= self.ending_strength <= MOST_STRENGTH
        ):
            raise ValueError(f"out of range: {self}")


AS_TOLD = Sampling(temperature=0.7)  # if nothing else is asked


def mixed(x: int) -> int:
    """32 bits, each of which depends on all of x. Source: Chris Wellons, "Prospecting for Hash Functions",
    2018, there called lowbias32."""
    x = (x ^ x >> 16) * 0x7FEB352D & 0xFFFFFFFF
    x = (x ^ x >> 15) * 0x846CA68B & 0xFFFFFFFF
    return x ^ x >> 16


def uniform(seed: int, place: int) -> float:
    """The number in [0, 1), a multiple of 2^-24, that draws the place-th token of a story. engine.c has the
    same."""
    return (mixed(mixed(seed) + place & 0xFFFFFFFF) >> 8) / 2**24
