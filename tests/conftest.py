"""How tests are run, and what they share: a tiny model, a tiny data set, a loopback Hub, complaints."""

import clean_environment

# isort: split
from common.threads import usable_cores

# isort: split
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import prepare_data
from common import cli
from common.signals import SIGNALS
from fake_hub import FakeHub
from forked import handle_signals_as_in_the_foreground
from hub_user import TRAIN, VALIDATION, User
from model import GPT2
from samples import write_corpus
from small_disk import on_a_disk
from tiny import tiny_model

MOST_WORKERS = 8  # each makes the fixtures anew, and holds a gigabyte

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """As many workers as cores, but with -n, -p no:xdist or --pdb. Each has its share of the threads. With
    `-m cuda` one, which sees the GPU."""
    if config.option.markexpr == "cuda":
        clean_environment.show_gpus()
        config.option.numprocesses = 0
    if clean_environment.WORKER or not config.pluginmanager.hasplugin("xdist"):
        return
    cores = usable_cores()
    if config.option.numprocesses in (None, "auto", "logical"):
        config.option.numprocesses = 0 if config.option.usepdb else min(cores, MOST_WORKERS)
        config.option.dist = "worksteal"
    if config.option.numprocesses:
        os.environ["OMP_NUM_THREADS"] = str(max(1, cores // config.option.numprocesses))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        clean_environment.keep_temporary()
        terminalreporter.write_line(f"what the tests wrote is in {clean_environment.TEMPORARY}")


@pytest.fixture(scope="session")
def model() -> GPT2:
    return tiny_model()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, model: GPT2) -> str:
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("raw")
    write_corpus.main(["--output", str(folder), "--records", "200", "--validation-records", "200"])
    return str(folder)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, raw: str) -> str:
    folder = tmp_path_factory.mktemp("prepared") / "data"
    prepare_data.main(["--source", raw, "--output", str(folder)])
    return str(folder)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder: what is found and written by default must not be the developer's."""
    folder = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def foreground() -> Iterator[None]:
    """Signals do what they do in a program that a shell starts."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    handle_signals_as_in_the_foreground()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a script's main with bad arguments as the command line does; return the one line it printed."""

    def complain(main: Callable[[list[str]], None], *arguments: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.run(lambda: main([str(argument) for argument in arguments]))
        assert stop.value.code == 2
        lines = [
            line for line in capsys.readouterr().err.splitlines() if "error:" in line or "Traceback" in line
        ]
        assert len(lines) == 1
        return lines[0]

    return complain


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """Empty, and without faults."""
    clean_environment.HUB.reset()
    yield clean_environment.HUB
    clean_environment.HUB.reset()


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The raw files: train is stored by reference, validation as it is."""
    folder = tmp_path_factory.mktemp("texts")
    write_corpus.main(["--output", str(folder), "--records", "400", "--validation-records", "60"])
    return {name: (folder / name).read_bytes() for name in (TRAIN, VALIDATION)}


@pytest.fixture(scope="session")
def undisturbed(texts: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the raw files become when they lie in a folder."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for name, content in texts.items():
        (folder / name).write_bytes(content)
    prepare_data.main(["--source", str(folder), "--output", str(folder / "data")])
    return folder / "data"


@pytest.fixture
def user(hub: FakeHub, tmp_path: Path) -> User:
    return User(tmp_path / "user")


@pytest.fixture
def disks(tmp_path: Path) -> None:
    tried = on_a_disk(tmp_path / "tried" / "disk", "size=64k")
    if not shutil.which("unshare") or subprocess.run([*tried, "true"]).returncode:
        pytest.skip("this user may not mount a disk here")
