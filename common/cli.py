"""From a frozen dataclass of settings to a command line, and from bad input to one clear line.

@dataclass(frozen=True)
class Settings:
    epochs: int | None = setting(None, "passes over the training split", at_least=1)

def main(argv=None):
    settings = parse(Settings, argv, __doc__)

if __name__ == "__main__":
    run(main)
"""

import argparse
import contextlib
import dataclasses
import errno
import io
import math
import os
import signal
import sys
import traceback
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

from common.errors import InputError
from common.signals import StopRequest, ignore

S = TypeVar("S")


def setting(
    default: Any,
    help: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """A dataclass field that is also an option of the command line: `max_steps` becomes `--max-steps`.

    `tuple[X, ...]` takes one value or more behind its option; limits hold for each.
    """
    metadata = dict(help=help, at_least=at_least, at_most=at_most, choices=choices)
    return dataclasses.field(default=default, metadata=metadata)


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see --help)")


def parse(
    settings_class: type[S],
    argv: Sequence[str] | None,
    description: str | None,
    more_help: Callable[[S], str] | None = None,
) -> S:
    """The settings that `argv` (default: the command line) gives. Raises InputError with all problems.

    `more_help` says what --help adds, which may depend on the other options.
    """
    parser = _Parser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    hints = typing.get_type_hints(settings_class)
    fields = dataclasses.fields(settings_class)  # type: ignore[arg-type]
    for field in fields:
        kind, several = _kind(hints[field.name])
        shown: Any = field.default
        if several:
            shown = " ".join(map(str, shown))
        default = "" if shown in (None, "") or kind is bool else f" (default: {shown})"
        how: dict[str, Any] = dict(
            default=field.default, help=(field.metadata["help"] + default).replace("%", "%%")
        )
        if kind is bool:
            how["action"] = argparse.BooleanOptionalAction
        else:
            how |= dict(type=kind, choices=field.metadata["choices"])
            how["metavar"] = None if how["choices"] else {int: "N", float: "F"}.get(kind, "X")
            if several:
                how["nargs"] = "+"
        parser.add_argument(option(field.name), **how)
    arguments = sys.argv[1:] if argv is None else argv
    others = [argument for argument in arguments if argument not in ("-h", "--help")]
    if more_help and len(others) < len(arguments):
        with contextlib.suppress(InputError, OSError):
            parser.epilog = more_help(settings_class(**vars(parser.parse_known_args(others)[0])))
    values = vars(parser.parse_args(arguments))
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    problems = [
        problem
        for field in fields
        for value in (values[field.name] if isinstance(values[field.name], tuple) else [values[field.name]])
        if (problem := _out_of_range(field, value))
    ]
    if problems:
        raise InputError("; ".join(problems))
    return settings_class(**values)


def _kind(hint: Any) -> tuple[Any, bool]:
    """The type of an option's values, and whether it takes several: a hint is `X`, `X | None` or
    `tuple[X, ...]`."""
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    if isinstance(hint, types.UnionType):
        return next(kind for kind in typing.get_args(hint) if kind is not types.NoneType), False
    return hint, False


def _out_of_range(field: "dataclasses.Field[Any]", value: Any) -> str | None:
    low, high = field.metadata["at_least"], field.metadata["at_most"]
    if value is None or (low is None and high is None):
        return None
    finite = not isinstance(value, float) or math.isfinite(value)
    if finite and (low is None or value >= low) and (high is None or value <= high):
        return None
    limits = [
        f"{word} {limit}" for word, limit in (("at least", low), ("at most", high)) if limit is not None
    ]
    shown = str(value) if len(str(value)) <= 30 else f"{str(value)[:30]}..."
    return (
        f"{option(field.name)} {shown}: must be {'finite and ' if not finite else ''}{' and '.join(limits)}"
    )


class _Output:
    """A stream that does not end the work: what cannot be encoded becomes "?", and what cannot be written, as
    nobody reads it or the disk is full, is lost. `error` is then why."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream: Any = stream or open(os.devnull, "w")  # noqa: SIM115
        self.error: OSError | None = None
        if isinstance(self.stream, io.TextIOWrapper):
            self.stream.reconfigure(errors="replace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        self._try(self.stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self.stream.flush)

    def _try(self, call: Callable[..., object], *given: str) -> None:
        try:
            call(*given)
        except OSError as error:
            self.error = self.error or error
            with contextlib.suppress(OSError):  # what waits to be written, and all to come, goes nowhere
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())


def run(main: Callable[[], None]) -> None:
    """Call `main`; end with one line and exit code 2 on bad input, with 128 + the number of the signal that
    ended it."""
    for number in range(3):  # one that is closed would be the number of the next file that is opened
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    out, err = _Output(sys.stdout), _Output(sys.stderr)
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):  # type: ignore[type-var]
        try:
            with StopRequest():
                main()
        except (InputError, OSError, KeyboardInterrupt) as error:
            status = tell(error)
        finally:
            out.flush()
        if not status and out.error and out.error.errno not in (errno.EPIPE, errno.EIO):  # as of `| head`
            status = tell(InputError(f"what it printed is not whole: {out.error}"))
    if status:
        sys.exit(status)


def tell(error: BaseException) -> int:
    """Say on stderr what ended a script, after all that it printed. Returns the exit code."""
    sys.stdout.flush()
    if isinstance(error, InputError | OSError):
        print(f"{Path(sys.argv[0]).name}: error: {_message(error)}", file=sys.stderr)
        return 2
    if isinstance(error, KeyboardInterrupt):
        ignore()  # the same wish once more must not disturb the last lines
        number = getattr(error, "number", signal.SIGINT)
        print("interrupted" if number == signal.SIGINT else error, file=sys.stderr)
        return 128 + number
    traceback.print_exception(error)
    return 1


def _message(error: BaseException) -> str:
    message = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        message = f"no room on the disk ({message}); make some and start again"
    told = [error] if error.__cause__ is None else [error, error.__cause__]
    return "; ".join([message, *(note for each in told for note in getattr(each, "__notes__", ()))])
