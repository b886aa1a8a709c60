import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from common import device, threads
from common.device import choose_compute, memory_used
from common.errors import InputError

H100, T4, V100 = ("H100", (9, 0)), ("Tesla T4", (7, 5)), ("Tesla V100", (7, 0))
TOO_OLD = "The NVIDIA driver on your system is too old (found version 12080)."


@pytest.fixture(autouse=True)
def attention() -> Iterator[None]:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(True)
    yield
    torch.backends.cuda.enable_cudnn_sdp(before)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Without any GPU, whatever this one has; the driver's file, which is not there, is to be made."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(device, "NVIDIA_DRIVER", tmp_path / "version")
    return tmp_path / "version"


def plug_in(monkeypatch: pytest.MonkeyPatch, *gpus: tuple[str, tuple[int, int]]) -> list[torch.device]:
    """What the machine has from now on; returns the devices that will become torch's current one."""
    current: list[torch.device] = []

    def ask(what: int, place: torch.device | None) -> Any:
        if gpus[0] == V100:
            warnings.warn("Found GPU0 which is of compute capability (CC) 7.0.", stacklevel=2)
        return gpus[0 if place is None else place.index][what]

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place=None: ask(0, place))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda place=None: ask(1, place))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90", "sm_120", "compute_120"])
    return current


def without_gpus(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(reason)

    monkeypatch.setattr(torch.cuda, "init", fail)
    monkeypatch.setattr(torch.cuda, "set_device", fail)


@pytest.mark.parametrize("name", ["auto", "cuda"])
@pytest.mark.parametrize(("gpu", "dtype"), [(H100, torch.bfloat16), (T4, torch.float16)])
def test_a_gpu_computes_in_the_16_bits_that_it_knows(
    name: str,
    gpu: tuple[str, tuple[int, int]],
    dtype: torch.dtype,
    machine: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plug_in(monkeypatch, gpu)
    compute = choose_compute(name)
    assert (compute.device, compute.dtype) == (torch.device("cuda:0"), dtype)
    assert compute.reason.startswith(f"cuda:0, {str(dtype)[6:]} autocast: {gpu[0]} ")
    assert not torch.backends.cuda.cudnn_sdp_enabled()


@pytest.mark.parametrize(("name", "others"), [("auto", "cpu"), ("cuda", "cpu"), ("cuda:0", "cpu or auto")])
def test_a_gpu_for_which_torch_has_no_kernels_is_refused_in_one_line(
    name: str, others: str, machine: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    plug_in(monkeypatch, V100)
    reason = "V100 has compute capability 7.0"
    with pytest.raises(InputError, match=f"--device {name}: .*{re.escape(reason)}.*use {others}$"):
        choose_compute(name)
    assert not recwarn.list


def test_the_gpu_that_is_used_is_asked_not_the_current_one(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = plug_in(monkeypatch, H100, T4)
    compute = choose_compute("cuda:1")
    assert (compute.device, compute.dtype) == (torch.device("cuda:1"), torch.float16)
    assert "Tesla T4" in compute.reason
    assert current == [compute.device]


@pytest.mark.parametrize(("name", "taken"), [("auto", 3), ("cuda", 3), ("cuda:1", 1)])
def test_each_process_takes_the_gpu_of_its_rank_unless_one_is_named(
    name: str, taken: int, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = plug_in(monkeypatch, H100, H100, H100, H100)
    assert choose_compute(name, local_rank=3).device == torch.device("cuda", taken)
    assert current == [torch.device("cuda", taken)]


def test_a_driver_without_a_gpu_is_an_error_and_not_a_slow_run(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.touch()
    without_gpus(monkeypatch, TOO_OLD)
    with pytest.raises(InputError, match=re.escape(TOO_OLD)) as error:
        choose_compute("auto")
    for part in ("--device auto:", "580", "--device cpu"):
        assert part in str(error.value)
    assert choose_compute("cpu").device.type == "cpu"


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_gpus_that_the_user_hides_are_not_missed(
    hidden: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.touch()
    without_gpus(monkeypatch, TOO_OLD)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    compute = choose_compute("auto")
    assert (compute.device, compute.dtype) == (torch.device("cpu"), torch.float32)
    assert compute.reason == "cpu, float32: CUDA_VISIBLE_DEVICES hides the GPUs"


def test_without_driver_and_gpu_the_cpu_computes(machine: Path) -> None:
    for name, reason in (("auto", "no GPU was found"), ("cpu", "as --device says")):
        compute = choose_compute(name)
        assert (compute.device, compute.dtype) == (torch.device("cpu"), torch.float32)
        assert compute.reason == f"cpu, float32: {reason}"
    assert torch.backends.cuda.cudnn_sdp_enabled()


@pytest.mark.parametrize(("name", "others"), [("cuda", "cpu"), ("cuda:1", "cpu or auto")])
def test_a_gpu_that_torch_does_not_have_is_refused_with_torchs_reason(
    name: str, others: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_gpus(monkeypatch, "No CUDA GPUs are available")
    with pytest.raises(InputError, match=f"--device {name}: .*No CUDA GPUs are available.*use {others}$"):
        choose_compute(name)


@pytest.mark.parametrize("name", ["meta", "toaster"])
def test_what_is_no_device_to_compute_with_is_refused(name: str, machine: Path) -> None:
    with pytest.raises(InputError, match=f"--device {name}: .*use cpu or auto$"):
        choose_compute(name)


def test_apples_gpu_is_taken_where_there_is_no_other(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[torch.device] = []
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda size, device: tried.append(device))
    compute = choose_compute("auto")
    assert (compute.device, compute.dtype) == (torch.device("mps"), torch.float32)
    assert tried == [compute.device]
    assert "--device cpu" in compute.reason
    plug_in(monkeypatch, H100)
    assert choose_compute("auto").device.type == "cuda"


def test_torch_takes_no_more_threads_than_there_are_cores_for_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "CGROUP", tmp_path)  # a container of one core
    (tmp_path / "cpu.max").write_text("100000 100000", "utf-8")
    before = torch.get_num_threads()
    try:
        for of_torch in (2, 1):
            torch.set_num_threads(of_torch)
            choose_compute("cpu")
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_memory_is_in_gigabytes_and_unknown_without_pythons_module_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = memory_used(torch.device("cpu"))
    assert used
    assert 0.01 < used < 1000
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert memory_used(torch.device("cpu")) is None
