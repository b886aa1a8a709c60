"""Send a finished folder to the Hugging Face Hub: what prepare_data.py wrote, or a checkpoint.

    uv run python -m sharing.push --folder checkpoints/sft_30M_model/best --push-to-hub you/my-stories

Whether the repo can be written is checked before anything is sent.
"""

import shlex
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, get_token

from common.checkpoints import CHECKPOINT
from common.cli import parse, run, setting
from common.errors import InputError, only_shown
from common.files import TEMPORARY
from common.hub import NAME
from common.retry import with_retries

MESSAGE = "Upload by Tiny Tales SFT"  # of our commits
CARD = "README.md"
KNOWN_BY = (
    ("model", ("model.safetensors", "config.json", CARD)),
    ("model", ("export.json", CARD)),
    ("dataset", ("train.parquet", "stats.json", CARD)),
)
OLLAMAS = ("Modelfile", "template", "params")
PUSHED = {
    "model": (*CHECKPOINT, "tokenizer*.json", "generation_config.json", "*.gguf", *OLLAMAS),
    "dataset": ("train.parquet", "stats.json", CARD, "*.parquet"),
}


@dataclass(frozen=True)
class Settings:
    folder: str | None = setting(None, "what prepare_data.py wrote, or a checkpoint of finetune.py")
    push_to_hub: str | None = setting(None, "the repo to send it to, namespace/name; made if it is not there")


def check_write_access(repo_id: str, repo_type: str) -> None:
    """Make the repo if it is not there. Raises InputError if it cannot be written with the token at hand."""
    what = f"--push-to-hub {repo_id}"
    if not (found := NAME.fullmatch(repo_id)) or found["repo"] != repo_id:
        raise InputError(f"{what}: is not the name of a repo (namespace/name)")
    if with_retries(what, get_token) is None:
        raise InputError(f"{what}: needs a token; log in with `uv run hf auth login`, or set HF_TOKEN")
    api = HfApi()
    with_retries(what, lambda: api.create_repo(repo_id, repo_type=repo_type, exist_ok=True))
    # Of a repo that exists, that says nothing. Asking how a file would be sent does, and sends none.
    file = CommitOperationAdd("README.md", b"?")
    with_retries(what, lambda: api.preupload_lfs_files(repo_id, [file], repo_type=repo_type))


def push(folder: Path, repo_id: str, repo_type: str) -> None:
    """Send a finished folder as one commit; a card that others have edited on the Hub stays as it is there.

    If that fails, the folder stays, and InputError says how to try again.
    """
    try:
        _send(folder, folder, repo_id, repo_type)
    except InputError as error:
        command = shlex.join(["-m", "sharing.push", "--folder", str(folder), "--push-to-hub", repo_id])
        raise InputError(
            f"{error}. All is in {folder}; send it again with: uv run python {command}"
        ) from error


def _send(content: Path, folder: Path, repo_id: str, repo_type: str) -> None:
    """`content` is what is sent, `folder` what it is called."""
    what = f"--push-to-hub {repo_id}"
    where: dict[str, Any] = dict(repo_id=repo_id, repo_type=repo_type)
    files = [*PUSHED[repo_type]]
    info: Any = with_retries(what, lambda: HfApi().get_paths_info(paths=[CARD], expand=True, **where))
    if info and info[0].last_commit and info[0].last_commit.title != MESSAGE:
        print(f"note: {repo_id}: its {CARD} was edited on the Hub and stays; the new one is in {folder}")
        files.remove(CARD)
    sent = sorted({file for pattern in files for file in content.glob(pattern)})
    commit = with_retries(
        what,
        lambda: HfApi().create_commit(
            operations=[CommitOperationAdd(file.name, file) for file in sent], commit_message=MESSAGE, **where
        ),
        long=True,
    )
    print(f"pushed {folder} to {commit.repo_url}, commit {commit.oid[:12]}")


class BackgroundPush:
    """Sends checkpoints while a run goes on. One that fails is a line on stderr, and the run goes on."""

    def __init__(self, repo_id: str) -> None:
        self.repo_id = repo_id
        self.thread: threading.Thread | None = None

    def start(self, folder: Path) -> None:
        """Send what is in the folder now; it may change at once. While the last push is on its way, do
        nothing."""
        if self.thread and self.thread.is_alive():
            print(f"note: --push-every: {folder} is left out, the push before is still on its way")
            return
        with only_shown("--push-every"):
            copy = tempfile.TemporaryDirectory(dir=folder.parent, prefix=".push-", suffix=TEMPORARY)
            shutil.copytree(folder, copy.name, dirs_exist_ok=True)
            self.thread = threading.Thread(target=self._run, args=(copy, folder), daemon=True)
            self.thread.start()

    def _run(self, copy: "tempfile.TemporaryDirectory[str]", folder: Path) -> None:
        with only_shown("--push-every"), copy:
            _send(Path(copy.name), folder, self.repo_id, "model")

    def wait(self) -> None:
        """Until the last one has arrived, or failed."""
        if self.thread:
            self.thread.join()


def type_of(folder: Path) -> str:
    """What a folder holds, "model" or "dataset". Raises InputError if it is neither."""
    for repo_type, files in KNOWN_BY:
        if all((folder / file).is_file() for file in files):
            return repo_type
    raise InputError(
        f"--folder {folder}: holds neither a checkpoint ({', '.join(KNOWN_BY[0][1])}; of a run, name "
        "best/, last/ or epoch_N/), an export, nor a data set of prepare_data.py"
    )


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    if settings.folder is None or settings.push_to_hub is None:
        raise InputError("--folder and --push-to-hub: both are needed")
    folder = Path(settings.folder)
    repo_type = type_of(folder)
    check_write_access(settings.push_to_hub, repo_type)
    push(folder, settings.push_to_hub, repo_type)


if __name__ == "__main__":
    run(main)
