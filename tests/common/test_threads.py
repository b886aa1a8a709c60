from common.threads import usable_cores

from pathlib import Path

import pytest

from common import threads


@pytest.mark.parametrize(
    ("written", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 4),
        ({"cpu.max": "900000 100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({}, 4),
    ],
)
def test_a_containers_quota_counts(
    written: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 7}, raising=False)
    monkeypatch.setattr(threads, "CGROUP", tmp_path)
    (tmp_path / "cpu").mkdir()
    for name, content in written.items():
        (tmp_path / name).write_text(content, "utf-8")
    assert usable_cores() == cores
