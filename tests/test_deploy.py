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

import pytest
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
        *sources, target = [word for word in rest.split() if not word.startswith("--")]
        if stage := re.search(r"--from=(\w+)", rest):
            assert (sources, target) == (["/tiny-tales"], ".")
            shutil.copytree(self.stages[stage[1]], self.root, dirs_exist_ok=True)
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


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """As Railway builds it: with the variables of the service, but not with what is secret."""
    of_the_service = {"MODEL": "you/private", "PORT": "8080", "RAILWAY_SERVICE_NAME": "tales"}
    image = Image(tmp_path_factory.mktemp("railway"), of_the_service)
    assert "torch" in not_in_the_image()
    for name in not_in_the_image():
        (image.root / f"{name}.py").write_text(f"raise ModuleNotFoundError('not here', name={name!r})")
    return image


def test_a_model_of_the_service_is_not_asked_for_while_the_image_is_built(image: Image) -> None:
    assert image.environment["MODEL"] == ""
    assert not list(image.folder.rglob("huggingface"))


def test_the_containers_command_tells_a_story_with_a_port_and_a_model_alone(image: Image) -> None:
    """Without torch, without a compiler, and with a proxy that the health check must not ask."""
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


def test_a_model_that_pytorch_alone_reads_is_named_with_the_remedy(image: Image, tmp_path: Path) -> None:
    (tmp_path / "finetune_epoch_5.pt").touch()
    given = image.environment | {"PORT": free_port(), "MODEL": str(tmp_path)}
    done = subprocess.run(image.commands["start"], cwd=image.root, env=given, capture_output=True, text=True)
    assert done.returncode == 2
    remedy = f"`uv run python quantize.py --checkpoint {tmp_path} --output int8` makes one"
    assert f"{remedy}; PyTorch is not here" in done.stderr


def test_a_model_can_be_put_into_the_image(hub: FakeHub, tmp_path: Path) -> None:
    hub.add("model", "you/tales", {file.name: file.read_bytes() for file in NANO.iterdir()})
    baked = Image(tmp_path, {"BAKED_MODEL": "you/tales"})
    assert baked.environment["MODEL"] == "you/tales"
    assert list(tmp_path.rglob("model.safetensors"))


def test_a_space_builds_the_dockerfile_and_finds_its_port() -> None:
    card = metadata_load(DEPLOY / "space" / "README.md") or {}
    assert (card["sdk"], card["app_port"]) == ("docker", app.Settings().port)
    assert len(card["short_description"]) <= 60  # the Hub takes no more


def needs(program: str) -> None:
    if not shutil.which(program):
        assert "CI" not in os.environ, f"{program} is missing"
        pytest.skip(f"{program} is not installed")


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """For root and the Python of the tests, as there is no teller here."""
    needs("systemd-analyze")
    unit = (DEPLOY / "tiny-tales@.service").read_text().replace("User=teller", "User=root")
    unit = re.sub(r"ExecStart=\S+", f"ExecStart={sys.executable}", unit)
    (tmp_path / "tiny-tales@.service").write_text(unit)
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "tiny-tales@8080.service")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_nginx_takes_its_file(tmp_path: Path) -> None:
    """At another port, and with its own files in another place: 80 and /var are root's."""
    needs("nginx")
    site = (DEPLOY / "nginx.conf").read_text().replace(":80;", ":8042;").replace("listen 80;", "listen 8042;")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = " ".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in kinds)
    main = f"pid {tmp_path}/pid; events {{}} http {{ access_log off; {places} include {tmp_path}/site; }}"
    (tmp_path / "site").write_text(site)
    (tmp_path / "main").write_text(main)
    command = ["nginx", "-t", "-e", str(tmp_path / "log"), "-p", str(tmp_path), "-c", str(tmp_path / "main")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr
