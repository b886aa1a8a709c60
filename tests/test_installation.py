"""Installation without uv: the line in the README, and the versions that it takes."""

import os
import pwd
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from clean_environment import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text()


def ranges(lines: Iterable[str]) -> dict[str, Requirement]:
    return {canonicalize_name(wanted.name): wanted for wanted in map(Requirement, lines)}


BASE = ranges(PROJECT["dependencies"])
SERVED = ranges(PYPROJECT["dependency-groups"]["serve"])
EXTRAS = SERVED | ranges(line for extra in PROJECT["optional-dependencies"].values() for line in extra)
INDIRECT = ranges(PYPROJECT["tool"]["uv"]["constraint-dependencies"])


def pins(lines: str) -> dict[str, str]:
    """Versions by name, of `name==version` lines; without what a build adds, such as the +cpu of torch."""
    found = re.findall(r"^([\w.-]+)==(\S+)$", lines, re.M)
    return {canonicalize_name(name): Version(version).public for name, version in found}


def test_constraints_pin_each_dependency_that_pyproject_names_and_nothing_else() -> None:
    comment, *lines = CONSTRAINTS.splitlines()
    assert comment.startswith("# ")
    assert lines == sorted(lines)
    for line in lines:  # no address, no hash, no marker, no build
        assert re.fullmatch(r"[\w-]+==[\d.]+", line)
    assert pins(CONSTRAINTS).keys() == BASE.keys() | EXTRAS.keys() | INDIRECT.keys()
    assert len(lines) == len(pins(CONSTRAINTS))


def test_pinned_versions_lie_within_the_ranges_of_pyproject() -> None:
    for name, wanted in (EXTRAS | BASE | INDIRECT).items():
        assert pins(CONSTRAINTS)[name] in wanted.specifier, name


@pytest.fixture
def home() -> dict[str, str]:
    """The environment of somebody at home: pip and git find their settings, Python none of our files."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return inherited | {"HOME": pwd.getpwuid(os.getuid()).pw_dir}


@pytest.fixture
def clone(tmp_path: Path, home: dict[str, str]) -> Path:
    """What git would commit, committed or not yet."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=ROOT, env=home, stdout=subprocess.PIPE, text=True, check=True)
    for name in done.stdout.split("\0"):
        if (ROOT / name).is_file():  # one that was deleted is listed too
            (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / "clone" / name)
    for command in (["git", "init", "--quiet"], ["git", "add", "."]):
        subprocess.run(command, cwd=tmp_path / "clone", env=home, check=True)
    return tmp_path / "clone"


@pytest.mark.slow
def test_pip_installs_what_the_scripts_need_by_the_readmes_line(
    tmp_path: Path, clone: Path, home: dict[str, str]
) -> None:
    """It needs an index of packages, or folders of wheels, as uv does: what pip is configured for.

    Without one it is skipped; where CI is set, it fails. Where torch comes with CUDA, gigabytes are fetched.
    """
    (line,) = re.findall(r"`(pip install [^`]+)`", (clone / "README.md").read_text())
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], env=home, check=True)
    home = home | {"PATH": f"{tmp_path / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    tried = ["pip", "download", "--quiet", "--retries=0", "--no-deps", f"--dest={tmp_path}", "setuptools"]
    reached = subprocess.run(tried, env=home, capture_output=True, text=True)
    if reached.returncode:
        reason = f"pip finds no packages: {reached.stderr}"
        pytest.fail(reason) if "CI" in os.environ else pytest.skip(reason)

    def run(command: str, environment: dict[str, str]) -> str:
        done = subprocess.run(
            command, shell=True, cwd=clone, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert done.returncode == 0, command
        return done.stdout

    run(line, home)
    installed = pins(run("pip freeze", home))
    assert {name: installed[name] for name in BASE} == {name: pins(CONSTRAINTS)[name] for name in BASE}

    away = home | {"HOME": os.environ["HOME"]}
    run("python quickstart.py --records 200 --topics 3", away)
    story = run("python generate.py --checkpoint quickstart/model/last --topic 'a dog' --ending sad", away)
    assert re.search(r"\w{2}", story)
    assert run("git ls-files --others --exclude-standard", home) == ""


@pytest.mark.slow
def test_what_serves_the_demo_is_small_and_enough(tmp_path: Path, clone: Path, home: dict[str, str]) -> None:
    """The group of the image and of a box: no torch, 0.4 GB, and a story."""
    if not shutil.which("uv"):
        pytest.fail("needs uv") if "CI" in os.environ else pytest.skip("needs uv")
    venv = tmp_path / "venv"
    away = home | {"UV_PROJECT_ENVIRONMENT": str(venv), "UV_SYSTEM_CERTS": "1"}
    subprocess.run(["uv", "sync", "--quiet", "--only-group", "serve"], cwd=clone, env=away, check=True)
    (packages,) = venv.glob("lib/*/site-packages")
    assert sum(file.stat().st_size for file in packages.rglob("*") if file.is_file()) < 400e6
    assert not (packages / "torch").exists()

    def run(*arguments: str) -> str:
        command = [str(venv / "bin" / "python"), *arguments]
        alone = home | {"HOME": os.environ["HOME"]}
        return subprocess.run(
            command, cwd=clone, env=alone, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    model = str(ROOT / "assets" / "nano_base")
    assert re.search(
        r"\w{2}", run("generate.py", "--checkpoint", model, "--topic", "a dog", "--ending", "sad")
    )
    run("-c", "import app")
