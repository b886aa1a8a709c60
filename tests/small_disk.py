"""A folder that is a disk of its own, as far as one command sees it."""

from pathlib import Path
from shlex import quote

SCRIPT = 'mount -t tmpfs -o {options} tmpfs {folder} && "$@"; code=$?; cp -r {folder} {kept}; exit $code'


def on_a_disk(folder: Path, options: str) -> list[str]:
    """A command before a command, for which `folder` is a disk. `kept` beside it has its files in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder.parent / "kept"
    script = SCRIPT.format(folder=quote(str(folder)), options=options, kept=quote(str(kept)))
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
