"""Errors whose message is for the user: it names what was wrong and says what to do. `cli.run` prints it."""


class InputError(ValueError):
    """What the user gave cannot be used."""


class CheckpointError(OSError):
    """A checkpoint is missing, damaged, or made for another model."""
