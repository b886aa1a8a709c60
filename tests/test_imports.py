"""Who may import whom: scripts stand on rooms, these on `dataset` and `model`, those on `common`."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from clean_environment import ROOT

SCRIPTS = {
    *("prepare_data", "dataset", "model", "finetune", "generate"),
    *("evaluate", "quantize", "export", "app", "quickstart"),
}
ROOMS = {"preparation", "training", "inference", "evaluation", "sharing", "exporting", "serving", "common"}
OTHERS = {"samples", "benchmarks", "deploy"}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for place in (ROOT, *(ROOT / name for name in ROOMS | OTHERS))
    for path in place.glob("*.py")
}


def may_import(place: str) -> set[str]:
    """The scripts and folders that a script, or the files of a folder, may import."""
    if place in ("common", "dataset", "model"):
        return {"common"}
    if place in ROOMS:
        return {"dataset", "model"} | ROOMS
    if place == "samples":
        return {"dataset", "model", "samples"} | ROOMS
    return SCRIPTS | ROOMS | ({"samples"} if place in ("quickstart", "evaluate") else set())


def imports(path: Path) -> set[str]:
    """The modules of ours that a file imports, anywhere in it, also for a type checker alone."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names & MODULES.keys()


def folder(module: str) -> str:
    """The folder of a module; a script stands for itself."""
    return module.partition(".")[0]


IMPORTS = {module: imports(path) for module, path in MODULES.items()}


@pytest.mark.parametrize("script", ["finetune", "evaluate", "quantize", "quickstart"])
def test_how_threads_wait_is_said_before_anything_else_is_imported(script: str) -> None:
    first = next(
        node
        for node in ast.parse(MODULES[script].read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    )
    assert ast.unparse(first) == "import common.threads"


def test_how_threads_wait_is_for_the_user_to_say() -> None:
    told = "import common.threads, os; print(os.environ['OMP_WAIT_POLICY'])"
    for own, said in ({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"):
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | own
        command = [sys.executable, "-c", told]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [said]


def test_nine_scripts_stand_at_the_front() -> None:
    assert {path.stem for path in ROOT.glob("*.py")} == SCRIPTS


@pytest.mark.parametrize("place", sorted(SCRIPTS | ROOMS | {"samples"}))
def test_a_script_or_a_room_imports_only_what_it_may(place: str) -> None:
    found = {
        f"{module} imports {other}"
        for module in MODULES
        if folder(module) == place
        for other in IMPORTS[module]
        if folder(other) not in may_import(place)
    }
    assert not found


def test_no_two_files_and_no_two_folders_import_each_other() -> None:
    TopologicalSorter(IMPORTS).prepare()  # raises CycleError
    folders: dict[str, set[str]] = {}
    for module, others in IMPORTS.items():
        folders.setdefault(folder(module), set()).update({*map(folder, others)} - {folder(module)})
    TopologicalSorter(folders).prepare()


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_rooms_init_holds_its_docstring_and_nothing_else(room: str) -> None:
    tree = ast.parse((ROOT / room / "__init__.py").read_text())
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1
