"""The ways to deploy: the Dockerfile's lines by hand in an empty folder, and the files beside it."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import metadata_load
from packaging.requirements import Requirement

import app
import clean_environment
from clean_environment import ROOT
from demo import NANO, VISITOR, told
from fake_hub import FakeHub

DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SERVED = PROJECT["dependency-groups"]["serve"]
IMPORTED_AS = {"scikit-learn": "sklearn"}
OF_THE_SYSTEM = ("apt-get", "useradd", "uv sync")  # commands that are left out here


class Image:
    """What deploy/Dockerfile makes, but for a system and packages: python is that of the tests.

    `variables` are those that a host has while it builds; an ARG takes the one of its name.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str] = {}) -> None:
        self.variables = variables
        self.folder = folder
        self.stages: dict[str, Path] = {}
        self.commands: dict[str, list[str]] = {}
        ignored, *kept = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
        assert ignored == "*"
        self.sent = [file for pattern in kept for file in ROOT.glob(pattern.removeprefix("!"))]
        for line in (DEPLOY / "Dockerfile").read_text().splitlines():
            if line and not line.startswith("#"):
                name, _, rest = line.partition(" ")
                getattr(self, f"_{name.lower()}", lambda _: None)(rest)

    def _from(self, rest: str) -> None:
        name = rest.partition(" AS ")[2]
        self.root = self.stages[name] = self.folder / (name or "image")
        (self.root / ".venv" / "bin").mkdir(parents=True)
        python = self.root / ".venv" / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        python.chmod(0o755)
        hub = {name: value for name, value in os.environ.items() if name.startswith("HF_")}
        self.environment = hub | {"PATH": os.environ["PATH"], "HOME": str(self.folder)}

    def _copy(self, rest: str) -> None:
        *sources, target = rest.split()
        if sources[0].startswith("--from="):
            shutil.copytree(self.stages[sources[0].partition("=")[2]], self.root, dirs_exist_ok=True)
            return
        for source in sources:
            files = [file for file in self.sent if file == ROOT / source or ROOT / source in file.parents]
            assert files, source
            for file in files:
                (self.root / target).mkdir(parents=True, exist_ok=True)
                shutil.copy(file, self.root / target)

    def _arg(self, rest: str) -> None:
        name, _, default = rest.partition("=")
        self.environment[name] = self.variables.get(name, default.strip('"'))

    def _env(self, rest: str) -> None:
        for name, value in (each.split("=", 1) for each in rest.split()):
            value = value.replace("/tiny-tales", str(self.root))
            self.environment[name] = re.sub(r"\$(\w+)", lambda found: self.environment[found[1]], value)

    def _run(self, rest: str) -> None:
        if not rest.startswith(OF_THE_SYSTEM):
            subprocess.run(rest, shell=True, cwd=self.root, env=self.environment, check=True)

    def _cmd(self, rest: str) -> None:
        self.commands["start"] = json.loads(rest)

    def _healthcheck(self, rest: str) -> None:
        self.commands["check"] = json.loads(rest[rest.index("[") :])


@contextmanager
def started(root: Path, command: list[str], environment: Mapping[str, str]) -> Iterator[str]:
    """A container's process; gives what it says first."""
    with subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            yield process.stderr.readline()
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.wait() in (0, 128 + signal.SIGTERM)


def free_port() -> str:
    with app.listen("127.0.0.1", 0) as free:
        return str(free.getsockname()[1])


def tell(port: str) -> str:
    """A story by the API, as deploy/README.md asks for it."""
    url = f"http://127.0.0.1:{port}/gradio_api/call/v2/story"
    event = VISITOR.post(url, json={"topic": "a dog", "ending": "sad", "seed": 3}).json()["event_id"]
    last = VISITOR.get(f"{url}/{event}").text.split("data: ")[-1]
    return str(json.loads(last)[0]["text"])


def not_in_the_image() -> list[str]:
    """What the demo must do without, as it is imported."""
    needed = [Requirement(line).name for line in PROJECT["project"]["dependencies"]]
    served = [Requirement(line).name for line in SERVED]
    return [IMPORTED_AS.get(name, name) for name in needed if name not in served]


def test_the_containers_command_tells_a_story_with_a_port_and_a_model_alone(tmp_path: Path) -> None:
    """Without torch, without a compiler, and with a proxy that the health check must not ask."""
    image = Image(tmp_path)
    assert "torch" in not_in_the_image()
    for name in not_in_the_image():
        (image.root / f"{name}.py").write_text(f"raise ModuleNotFoundError('not here', name={name!r})")
    port = free_port()
    given = image.environment | {"PORT": port, "MODEL": str(NANO), "TMPDIR": str(clean_environment.TEMPORARY)}
    given["PATH"] = str(image.root / ".venv" / "bin")
    given["http_proxy"] = "http://127.0.0.1:9"
    check = [str(image.root / ".venv" / "bin" / "python"), *image.commands["check"][1:]]
    with started(image.root, image.commands["start"], given) as said:
        assert said.startswith(f"model {NANO} on cpu: engine, ")
        assert said.endswith(f"http://0.0.0.0:{port}\n")
        subprocess.run(check, env=given, check=True)
        assert tell(port) == told("a dog", "sad", 3).text
    assert subprocess.run(check, env=given, capture_output=True).returncode != 0


def test_a_model_of_a_service_is_not_asked_for_while_its_image_is_built(hub: FakeHub, tmp_path: Path) -> None:
    """As Railway builds: with the variables of the service, but not with what is secret."""
    Image(tmp_path / "railway", {"MODEL": "you/private", "PORT": "8080", "RAILWAY_SERVICE_NAME": "tales"})
    assert hub.requests == []
    hub.add("model", "you/tales", {file.name: file.read_bytes() for file in NANO.iterdir()})
    baked = Image(tmp_path / "baked", {"BAKED_MODEL": "you/tales"})
    assert baked.environment["MODEL"] == "you/tales"
    assert list(tmp_path.rglob("model.safetensors"))


def test_a_space_builds_the_dockerfile_and_finds_its_port() -> None:
    card = metadata_load(DEPLOY / "space" / "README.md") or {}
    assert (card["sdk"], card["app_port"]) == ("docker", app.Settings().port)
    assert len(card["short_description"]) <= 60  # the Hub takes no more
