"""prepare_data.py against the obvious loop, on a corpus of the real set's size: seconds and peak memory.

    uv run python -m benchmarks.preparation                  # 2.7 GB on disk, about ten minutes; Linux
    uv run python -m benchmarks.preparation --records 40000

Memory is the resident memory of a process and all that it started, added up twenty times a second; what they
share counts for each. Both sides must give the same data set, row for row.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from common.cli import parse, run, setting
from common.errors import InputError
from preparation.raw_files import FILES
from samples import write_corpus


@dataclass(frozen=True)
class Settings:
    folder: str = setting("data/benchmark", "for the corpus, which is written once, and the results")
    records: int = setting(3_800_000, "records in the corpus", at_least=1000)


def measure(*arguments: str) -> tuple[float, float]:
    """Seconds and peak memory (MB) of a Python process. Raises InputError if it fails."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident_bytes(process.pid))
        time.sleep(0.05)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise InputError(f"{' '.join(arguments)}: failed")
    return seconds, peak / 1e6


def resident_bytes(pid: int) -> int:
    """Of a process and its descendants, from /proc (see proc(5))."""
    folder = Path(f"/proc/{pid}")
    try:
        pages = int((folder / "statm").read_text().split()[1])
        children = (folder / f"task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(resident_bytes(int(child)) for child in children)


def same_rows(one: Path, other: Path) -> bool:
    """Whether two prepared sets hold the same examples in the same order."""
    for split in FILES:
        files = [pq.ParquetFile(folder / f"{split}.parquet") for folder in (one, other)]
        if files[0].metadata.num_rows != files[1].metadata.num_rows:
            return False
        for batches in zip(*(file.iter_batches(10_000) for file in files), strict=True):
            if batches[0].to_pylist() != batches[1].to_pylist():
                return False
    return True


def main(argv: list[str] | None = None) -> None:
    settings = parse(Settings, argv, __doc__)
    folder = Path(settings.folder)
    source = folder / f"raw-{settings.records}"
    if not source.exists():
        sizes = ["--records", str(settings.records), "--validation-records", str(settings.records // 100)]
        write_corpus.main(["--output", str(source), *sizes])
    ours, plain = folder / "ours", folder / "plain"
    where = ["--source", str(source), "--output"]
    figures = {
        "the obvious loop": measure("-m", "benchmarks.plain_preparation", *where, str(plain)),
        "prepare_data.py": measure("prepare_data.py", *where, str(ours), "--overwrite"),
    }

    counts = json.loads((ours / "stats.json").read_text())["splits"].values()
    rows, records = (sum(split[name] for split in counts) for name in ("rows", "records"))
    size = sum((source / name).stat().st_size for name in FILES.values())
    print(f"{rows:,} rows, {records:,} records, {size / 1e9:.2f} GB, on {os.cpu_count()} cores")
    for name, (seconds, memory) in figures.items():
        print(f"{name:18} {seconds:7.1f} s {records / seconds:10,.0f} records/s {memory:8,.0f} MB")
    (plain_seconds, _), (our_seconds, _) = figures.values()
    if not same_rows(ours, plain):
        raise InputError(f"{ours} and {plain}: hold other rows")
    print(f"{plain_seconds / our_seconds:.1f} times as fast; same rows")


if __name__ == "__main__":
    run(main)
