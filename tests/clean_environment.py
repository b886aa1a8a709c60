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
WORKER = os.environ.get("PYTEST_XDIST_WORKER")  # a process that pytest-xdist started

# Where programs are, and what a processor is to be taken for.
KEPT = re.compile(
    r"PATH|CI|TERM|CC|CXX|SYSTEMROOT"
    r"|(PYTEST|COV|COVERAGE|LD|DYLD|ONEDNN|DNNL|MKL|ATEN|OPENBLAS|NPY)_\w+"
)

TEMPORARY = Path(tempfile.mkdtemp(prefix=f"tales-{WORKER or 'tests'}-"))
tempfile.tempdir = str(TEMPORARY)
if WORKER is None:  # a worker has a clean environment, and its folder lies in the one that is removed
    kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    os.environ.clear()
    os.environ.update(kept)
    atexit.register(shutil.rmtree, TEMPORARY, ignore_errors=True)
os.environ |= {
    "HOME": str(TEMPORARY),
    "TMPDIR": str(TEMPORARY),
    "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests"))),
    "CUDA_VISIBLE_DEVICES": "",  # what a GPU computes differs in its last bits
}
HUB = FakeHub()
os.environ |= HUB.environment()


def keep_temporary() -> None:
    """For somebody who looks into what failed."""
    atexit.unregister(shutil.rmtree)
