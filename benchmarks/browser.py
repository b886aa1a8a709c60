"""Stories in a browser, each teller with one thread: export.py's page beside wllama and onnxruntime-web.

    uv run --group benchmarks python -m benchmarks.browser       # needs Chromium, and npm to fetch the others

The model has random weights. Tellers take turns; printed are medians, and how many times that is slower.
"""

import contextlib
import functools
import shutil
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright

from benchmarks.other_programs import to_onnx
from common.cli import parse, run, setting
from common.errors import InputError
from common.presets import PRESETS
from dataset import ENDINGS, taught
from exporting import gguf_files, page_folder
from exporting.fold import folded
from model import GPT2

PACKAGES = {"wllama": "@wllama/wllama@3.13.0", "ort": "onnxruntime-web@1.30.0"}
TELLERS = {
    "the page, int8": "engine()",
    "wllama, Q8_0": "wllama()",
    "onnxruntime-web, float32": 'onnx("/model.onnx")',
    "onnxruntime-web, int8": 'onnx("/model-int8.onnx")',
}


@dataclass(frozen=True)
class Settings:
    model_size: str = setting("30m", "whose shape", choices=tuple(PRESETS))
    tokens: int = setting(60, "of each story", at_least=2)
    rounds: int = setting(5, "of all tellers", at_least=1)


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def make_models(folder: Path, model_size: str) -> None:
    torch.manual_seed(0)
    model = GPT2(**asdict(PRESETS[model_size].config)).eval()
    model.taught = taught(ENDINGS)
    to_onnx(model, folder / "model.onnx")
    gguf_files.write_file(folder / "model-Q8_0.gguf", "Q8_0", folded(model), model.config, "random", ENDINGS)
    (folder / "page").mkdir()
    page_folder.write(folder / "page", "random", model)


def fetch_packages(folder: Path) -> None:
    for name, package in PACKAGES.items():
        packed = subprocess.run(
            ["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
        )
        subprocess.run(["tar", "xzf", packed.stdout.split()[-1]], cwd=folder, check=True)
        (folder / "package").rename(folder / name)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    handler = functools.partial(Handler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium or not shutil.which("npm"):
        raise InputError("needs Chromium and npm")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_models(folder, settings.model_size)
        fetch_packages(folder)
        shutil.copy(Path(__file__).with_name("browser.js"), folder)
        (folder / "index.html").touch()
        with served(folder) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            print(f"Chromium {browser.version}, {settings.model_size}, {settings.tokens} tokens")
            pages = {}
            for teller, how in TELLERS.items():
                pages[teller] = page = browser.new_page()
                page.goto(address)
                page.evaluate(f"async () => {{ window.tell = await (await import('/browser.js')).{how}; }}")
            speeds: dict[str, list[float]] = {teller: [] for teller in TELLERS}
            for round in range(settings.rounds + 1):  # the first warms up
                for teller, page in pages.items():
                    speed = page.evaluate(f"window.tell({settings.tokens})")
                    if round:
                        speeds[teller].append(speed)
    ours = statistics.median(speeds["the page, int8"])
    for teller, found in speeds.items():
        median = statistics.median(found)
        spread = f"{min(found):.0f} to {max(found):.0f}"
        print(f"{teller:26} {median:6.0f} tokens/s ({spread}), {ours / median:.1f} times")


if __name__ == "__main__":
    run(main)
