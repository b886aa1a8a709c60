"""An environment in which tests give the same result for everybody. conftest.py imports this before all else.

What a user has set for Python, Hugging Face, Gradio, matplotlib, torchrun, a proxy or a language is gone, for
this process and for those that it starts. HOME and the temporary folder are new, one a worker of
pytest-xdist, and are removed in the end. The Hub is one on the loopback address; huggingface_hub reads the
address when it is imported, so all tests of a worker have the same.
"""

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

from fake_hub import FakeHub

ROOT = Path(__file__).parent.parent
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")  # the name of a process that pytest-xdist started

# Where programs are, where pip finds packages, and what a processor is to be taken for.
KEPT = re.compile(
    r"PATH|CI|TERM|CC|CXX|SYSTEMROOT"
    r"|(PYTEST|COV|COVERAGE|LD|DYLD|ONEDNN|DNNL|MKL|ATEN|OPENBLAS|NPY|PIP|UV)_\w+"
)


def _set_up(temporary: Path) -> FakeHub:
    tempfile.tempdir = str(temporary)
    os.environ |= {
        "HOME": str(temporary),
        "TMPDIR": str(temporary),
        "SET_UP_FOR": WORKER,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests"))),
        "CUDA_VISIBLE_DEVICES": "",  # what a GPU computes differs in its last bits
    }
    hub = FakeHub()
    os.environ |= hub.environment()
    return hub


if os.environ.get("SET_UP_FOR") == WORKER:  # a process that this one's tests started
    TEMPORARY = Path(os.environ["TMPDIR"])
elif WORKER:  # has a clean environment, and a folder in the one that is removed
    TEMPORARY = Path(os.environ["TMPDIR"]) / WORKER
    TEMPORARY.mkdir()
    HUB = _set_up(TEMPORARY)
else:
    TEMPORARY = Path(tempfile.mkdtemp(prefix="tales-"))
    atexit.register(shutil.rmtree, TEMPORARY, ignore_errors=True)
    GPUS = os.environ.get("CUDA_VISIBLE_DEVICES")
    kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    os.environ.clear()
    os.environ.update(kept)
    HUB = _set_up(TEMPORARY)


def show_gpus() -> None:
    """Those that the user sees."""
    os.environ.pop("CUDA_VISIBLE_DEVICES")
    if GPUS is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = GPUS


def keep_temporary() -> None:
    """For somebody who looks into what failed."""
    atexit.unregister(shutil.rmtree)
