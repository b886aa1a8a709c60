"""Seeds of random generators."""

import random


def derived_seed(seed: int, purpose: str, *numbers: int) -> int:
    """32 bits that differ for every purpose and number, and are the same each time."""
    return random.Random(f"{seed} {purpose} {numbers}").getrandbits(32)


def new_seed() -> int:
    """31 bits that nobody could foretell."""
    return random.SystemRandom().randrange(2**31)
