"""engine.c as a library: compiled at first use, kept in the user's cache, and checked before it is used.

    library = load_library()                       # a ctypes.CDLL; the second time in some milliseconds

An image may bring some beside engine.c, for several kinds of processors: the best that gives the known
answer (engine.py's `is_right`) is taken. Otherwise the compiler is $CC, cc, gcc, clang, or zig from PyPI
(`ziglang`), the first that makes a library which gives it: once for this processor alone and, if that fails,
once for all of its kind; for whatever CC="gcc -march=..." says. The answer is first computed in a process of
its own, which may crash.

What is made lies in a folder of the user's own, under a name made of the source, the command, the compiler,
the processor and the library's own content. It appears whole or not at all, whoever else makes it at
the same time; one that was damaged, or belongs to somebody else, is not loaded.
"""

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from common.errors import one_line

SOURCE = Path(__file__).with_name("engine.c")
# No sum may be reordered, no product and sum contracted, no rounding mode assumed away: engine.c says why.
FLAGS = (
    *("-std=gnu11", "-O3", "-ffp-contract=off", "-fno-fast-math", "-fno-math-errno"),
    *("-fno-sanitize=undefined", "-fPIC", "-shared", "-w"),
)
KINDS = {  # of processors that `build` builds for, the oldest first
    "x86_64": ("x86-64-v2", "x86-64-v3", "x86-64-v3 -mavxvnni", "x86-64-v4", "x86-64-v4 -mavx512vnni"),
    "aarch64": ("armv8-a", "armv8.2-a+dotprod"),
}
SECONDS = 120  # zig's first start takes a minute on a slow machine
IS_RIGHT = "import sys; from inference.engine import is_right; sys.exit(not is_right(sys.argv[1]))"


class EngineError(Exception):
    """Why there is no engine here, in one line that says what to do."""


def compilers() -> Iterator[list[str]]:
    """The commands that may be a C compiler here, the first choice first."""
    with contextlib.suppress(ValueError):
        if chosen := shlex.split(os.environ.get("CC", "")):
            yield chosen
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            yield [found]
    if importlib.util.find_spec("ziglang"):
        yield [sys.executable, "-m", "ziglang", "cc"]


def processor() -> str:
    """Whatever tells this processor from others."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        wanted = ("model name", "flags", "Features", "CPU part")
        return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))
    return platform.processor()


def cache_folder() -> Path | None:
    """A folder that is the user's own, made if need be; None if there is none to be had."""
    if sys.platform == "win32":
        home = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        home = os.path.expanduser("~/Library/Caches")
    else:
        home = os.environ.get("XDG_CACHE_HOME", "") or os.path.expanduser("~/.cache")
    folder = Path(home) / "tiny-tales-sft"
    if not folder.is_absolute():  # neither HOME nor an entry in passwd
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or not os.access(folder, os.W_OK):
            return None
        if sys.platform != "win32" and (found.st_uid != os.geteuid() or found.st_mode & 0o077):
            return None
    except OSError:
        return None
    return folder


@functools.cache
def load_library() -> ctypes.CDLL:
    """Raises EngineError."""
    reasons = []
    for file in sorted(SOURCE.parent.glob(f"{_built()}-*.so"), reverse=True):
        try:
            _check(file)
            return open_library(file)
        except (EngineError, OSError, subprocess.SubprocessError) as error:
            reasons.append(f"{file.name}: {one_line(error)}")
    cache = cache_folder()
    for command in compilers():
        is_arm = platform.machine() in ("arm64", "aarch64")
        native = "-mcpu=native" if "ziglang" in command or is_arm else "-march=native"
        says_which = any(argument.startswith(("-march=", "-mcpu=")) for argument in command)
        for flags in (FLAGS,) if says_which else ((*FLAGS, native), FLAGS):
            try:
                return _kept(command, flags, cache)
            except (EngineError, OSError, subprocess.SubprocessError) as error:
                reasons.append(f"{' '.join(command)}: {one_line(error)}")
    raise EngineError(reasons[0] if reasons else "no C compiler was found")


def _kept(command: list[str], flags: tuple[str, ...], cache: Path | None) -> ctypes.CDLL:
    """The library that this command makes, from the cache if it is there."""
    made_of = (SOURCE.read_bytes(), [*command, *flags], _identity(command), processor())
    name = f"engine-{_digest(repr(made_of).encode())}"
    for file in cache.glob(f"{name}-*") if cache else ():
        content = file.read_bytes()
        if file.name == f"{name}-{_digest(content)}":
            return open_library(file)
        with contextlib.suppress(OSError):  # it is damaged
            file.unlink()
    with tempfile.TemporaryDirectory(dir=cache, prefix=".making-", ignore_cleanup_errors=True) as folder:
        made = Path(folder) / "engine.so"
        _run([*command, *flags, str(SOURCE), "-o", str(made)], caches=folder)
        _check(made)
        content = made.read_bytes()
        if cache:
            with contextlib.suppress(OSError):  # on Windows, another process may use it already
                os.replace(made, made := cache / f"{name}-{_digest(content)}")
        return open_library(made)


def build() -> None:
    """Make a library for each of KINDS beside the source, for processors that are not known yet."""
    for number, kind in enumerate(KINDS[platform.machine()]):
        file = SOURCE.with_name(f"{_built()}-{number}.so")
        _run(["cc", *FLAGS, *f"-march={kind}".split(), str(SOURCE), "-o", str(file)])


def _built() -> str:
    return f"engine-{_digest(SOURCE.read_bytes())}"


def _check(library: Path) -> None:
    """Raises EngineError if it does not give the known answer."""
    _run([sys.executable, "-c", IS_RIGHT, str(library)], cwd=SOURCE.parent.parent)


def _identity(command: list[str]) -> tuple[str, int, int]:
    """Tells a compiler from its next version, sooner than asking it does."""
    spec = importlib.util.find_spec("ziglang") if "ziglang" in command else None
    file = os.path.realpath((spec and spec.origin) or shutil.which(command[0]) or command[0])
    found = os.stat(file)
    return file, found.st_size, found.st_mtime_ns


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def open_library(file: Path) -> ctypes.CDLL:
    """Raises OSError if it is none."""
    try:
        return ctypes.CDLL(str(file))
    except OSError:
        if not hasattr(os, "memfd_create"):
            raise
    # The folder may be on a disk from which nothing may be executed; memory is not.
    with open(descriptor := os.memfd_create("engine"), "wb") as memory:
        memory.write(file.read_bytes())
        memory.flush()
        return ctypes.CDLL(f"/proc/self/fd/{descriptor}")


def _run(command: list[str], caches: str | None = None, cwd: Path | None = None) -> None:
    """Raises EngineError if it fails or takes too long."""
    environment = os.environ | (
        {"ZIG_LOCAL_CACHE_DIR": caches, "ZIG_GLOBAL_CACHE_DIR": caches} if caches else {}
    )
    for name in ("CFLAGS", "CPPFLAGS", "LDFLAGS"):  # of Python's own build, or for something else
        environment.pop(name, None)
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise EngineError(f"took more than {SECONDS} s") from None
    finally:
        if process.poll() is None:
            _kill(process)
    if process.returncode:
        said = printed.decode("utf-8", "replace").strip().splitlines()
        raise EngineError(f"exit status {process.returncode}" + (f", {said[-1]}" if said else ""))


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """With its children: a compiler is several programs."""
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
