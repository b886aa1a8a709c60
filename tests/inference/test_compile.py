"""The same bits from every compiler, and an engine or one line whatever is wrong with a machine."""

import ctypes
import importlib.util
import os
import platform
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import generate
from clean_environment import ROOT
from inference import compile as compiling
from inference import engine, opening
from inference.compile import FLAGS, EngineError
from inference.engine import Engine, is_right
from inference.sampling import Sampling
from small_disk import on_a_disk
from tiny import EOS, engine_of, tiny_model

STORY = Path(__file__).with_name("engine_story.c")
EXPECTED = "7de3c32b82cc121c"  # what each build of STORY prints last
PROGRAM = [flag for flag in FLAGS if flag not in ("-shared", "-fPIC", "-fno-sanitize=undefined")]
NATIVE = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
ZIG = (sys.executable, "-m", "ziglang", "cc", "-fno-sanitize=undefined")
BUILDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "gcc": (("gcc",), ()),
    "gcc, for this processor": (("gcc",), (NATIVE,)),
    "gcc, AVX2": (("gcc",), ("-mavx2",)),
    "gcc, AVX2 VNNI": (("gcc",), ("-mavx2", "-mavxvnni")),
    "gcc, AVX-512": (("gcc",), ("-mavx512f", "-mavx512bw")),
    "gcc, plain C": (("gcc",), ("-U__SSE2__", "-U__ARM_NEON")),
    "gcc, without optimisation": (("gcc",), ("-O0",)),
    "gcc, sanitized": (("gcc",), ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover")),
    "clang": (("clang",), ()),
    "clang, for this processor": (("clang",), (NATIVE,)),
    "zig, for this processor": (ZIG, ("-mcpu=native",)),  # its first start takes long
}


def needs(*programs: str) -> None:
    """Under CI all are there."""
    for name in programs:
        package = name in ("ziglang", "wasmtime")
        if not (importlib.util.find_spec(name) if package else shutil.which(name)):
            assert "CI" not in os.environ, f"{name} is missing"
            pytest.skip(f"{name} is not installed")


@pytest.mark.parametrize(
    "build",
    [pytest.param(name, marks=[pytest.mark.slow] if name.startswith("zig") else []) for name in BUILDS],
)
def test_every_build_tells_the_same_stories_bit_for_bit(build: str, tmp_path: Path) -> None:
    compiler, flags = BUILDS[build]
    needs("ziglang" if compiler == ZIG else compiler[0])
    instructions = {"gcc, AVX2": "avx2", "gcc, AVX2 VNNI": "avx_vnni", "gcc, AVX-512": "avx512bw"}.get(build)
    if instructions and instructions not in compiling.processor().split():
        pytest.skip(f"this processor has no {instructions}")
    subprocess.run([*compiler, *PROGRAM, *flags, str(STORY), "-o", str(tmp_path / "story")], check=True)
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0"}  # it frees nothing
    said = subprocess.run(tmp_path / "story", check=True, capture_output=True, text=True, env=environment)
    assert [len(line.split()) for line in said.stdout.splitlines()] == [81, 81]
    assert said.stdout.split()[-1] == EXPECTED


@pytest.mark.skipif(platform.machine() != "x86_64", reason="these are x86 processors")
@pytest.mark.parametrize(
    "name", ["x86-64", "haswell", "znver3", "alderlake", "icelake-server", "sapphirerapids"]
)
def test_it_compiles_for_processors_that_are_not_here(name: str, tmp_path: Path) -> None:
    needs("gcc")
    flags = [flag for flag in FLAGS if flag != "-shared"]
    command = ["gcc", *flags, f"-march={name}", "-c", str(compiling.SOURCE), "-o", str(tmp_path / "engine.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    if "bad value" in done.stderr:
        pytest.skip(f"this gcc knows no {name}")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_webassembly_tells_them_too(tmp_path: Path) -> None:
    needs("ziglang", "wasmtime")
    import wasmtime

    module, said = tmp_path / "story.wasm", tmp_path / "said"
    target = ["-target", "wasm32-wasi", "-mcpu=generic+simd128"]
    subprocess.run([*ZIG, *target, *PROGRAM, str(STORY), "-o", str(module)], check=True)
    machine = wasmtime.Engine()
    linker, store, config = wasmtime.Linker(machine), wasmtime.Store(machine), wasmtime.WasiConfig()
    linker.define_wasi()
    config.stdout_file = str(said)
    store.set_wasi(config)
    start = linker.instantiate(store, wasmtime.Module.from_file(machine, str(module))).exports(store)[
        "_start"
    ]
    assert isinstance(start, wasmtime.Func)
    start(store)
    assert said.read_text().split()[-1] == EXPECTED


# --- compiled at first use --------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one. What this process has loaded is forgotten."""
    needs("cc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compiling.load_library.cache_clear()
    engine.load_engine.cache_clear()
    return tmp_path / "cache" / "tiny-tales-sft"


def made(cache: Path) -> list[Path]:
    return sorted(cache.glob("*")) + sorted(cache.glob(".*"))


def a_compiler(folder: Path, script: str) -> str:
    file = folder / "compiler"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


def without_others(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """No compiler is found but $CC."""
    found = shutil.which
    patch.setattr(compiling.shutil, "which", lambda name: found(name) if os.sep in name else None)
    patch.setattr(compiling.importlib.util, "find_spec", lambda name: None)


def test_it_is_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = engine.load_engine()
    (file,) = made(cache)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    compiling.load_library.cache_clear()
    monkeypatch.setattr(compiling, "_run", lambda *_, **__: pytest.fail("it is compiled again"))
    assert compiling.load_library()._name == first._name == str(file)


@pytest.mark.parametrize("size", [0, 100, 4096, 10_000])
def test_a_library_that_was_cut_short_is_made_anew(cache: Path, size: int) -> None:
    compiling.load_library()
    (file,) = made(cache)
    whole = file.read_bytes()
    file.unlink()  # this process has it mapped
    file.write_bytes(whole[:size])
    compiling.load_library.cache_clear()
    engine.load_engine()
    assert made(cache) == [file]
    assert file.read_bytes() == whole


def test_a_library_for_another_processor_or_of_another_compiler_is_not_taken(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiling.load_library()
    for name in ("processor", "_identity"):
        compiling.load_library.cache_clear()
        monkeypatch.setattr(compiling, name, lambda *_, name=name: name)
        compiling.load_library()
    assert len(made(cache)) == 3


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 1", "exit status 1"),
        ("echo 'engine.c:1: so it is not'; exit 3", "exit status 3, engine.c:1: so it is not"),
        ("kill -9 $$", "exit status -9"),
        ("exit 0", "exit status 1"),
        ("sleep 1000", "took more than 0.2 s"),
        ("for last; do :; done; echo 'no library' > $last", "exit status"),
    ],
    ids=["fails", "says why", "is killed", "makes nothing", "hangs", "makes nonsense"],
)
def test_a_compiler_that_does_not_do_it_is_named(
    cache: Path, script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_others(tmp_path, monkeypatch)
    monkeypatch.setenv("CC", a_compiler(tmp_path, script))
    if "sleep" in script:
        monkeypatch.setattr(compiling, "SECONDS", 0.2)
    with pytest.raises(EngineError, match="compiler: ") as error:
        compiling.load_library()
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert made(cache) == []


def test_a_build_that_computes_otherwise_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.c"
    other.write_text(compiling.SOURCE.read_text().replace("0.49999994f", "0.49999997f"))
    without_others(tmp_path, monkeypatch)
    take_it = f'case $each in *engine.c) each={other};; esac; set -- "$@" "$each"'
    script = f'for each; do shift; {take_it}; done; cc "$@"'
    monkeypatch.setenv("CC", a_compiler(tmp_path, script))
    with pytest.raises(EngineError, match="exit status 1"):
        compiling.load_library()
    assert made(cache) == []


def test_without_a_compiler_there_is_no_engine(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_others(tmp_path, monkeypatch)
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(EngineError, match="no C compiler was found"):
        compiling.load_library()


def test_pytorch_tells_the_story_then_and_one_line_says_why(
    cache: Path,
    checkpoint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["--checkpoint", checkpoint, "--topic", "a dog", "--ending", "sad", "--seed", "5"]
    generate.main([*command, "--max-tokens", "40"])
    told = capsys.readouterr()
    assert "on cpu: engine, float32, " in told.err
    engine.load_engine.cache_clear()
    compiling.load_library.cache_clear()
    without_others(tmp_path, monkeypatch)
    monkeypatch.delenv("CC", raising=False)
    generate.main([*command, "--max-tokens", "40"])
    by_pytorch = capsys.readouterr()
    assert by_pytorch.out == told.out
    assert "note: PyTorch tells the stories: no C compiler was found" in by_pytorch.err
    assert "on cpu: PyTorch" in by_pytorch.err


@pytest.mark.parametrize("what", ["a file", "open to others", "no home"])
def test_without_a_cache_of_the_users_own_it_is_compiled_each_time(
    cache: Path, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "a file":
        cache.parent.write_text("not a folder")
    elif what == "open to others":
        cache.mkdir(parents=True)
        cache.chmod(0o777)
    else:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert compiling.cache_folder() is None
    engine.load_engine()
    assert not cache.is_dir() or made(cache) == []


def test_a_cache_from_which_nothing_may_be_executed_does(cache: Path, disks: None, tmp_path: Path) -> None:
    told = "from inference.engine import load_engine; print(load_engine()._name)"
    disk = [*on_a_disk(cache.parent, "size=8m,noexec"), sys.executable, "-c", told]
    done = subprocess.run(disk, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith("/proc/self/fd/"), done.stderr


@pytest.mark.slow
def test_sixteen_may_start_at_once(cache: Path) -> None:
    told = "from inference.engine import load_engine; load_engine(); print('ready')"
    started = [
        subprocess.Popen([sys.executable, "-c", told], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(16)
    ]
    assert [process.communicate(timeout=120)[0] for process in started] == ["ready\n"] * 16
    assert len(made(cache)) == 1


# --- whatever else is in the process ----------------------------------------------------------------------


def some_story(threads: int = 2) -> list[int]:
    return told_by(engine_of(tiny_model(), threads))


def told_by(teller: Engine) -> list[int]:
    steps = teller.stream_tokens([[1, 2, 3]], [0], Sampling(30, 0.8, 20), EOS)
    return [token for (token,) in steps]


def test_denormals_that_are_zero_and_another_rounding_change_nothing() -> None:
    expected = some_story()
    maths = ctypes.CDLL(None)
    upward = {"x86_64": 0x800, "aarch64": 0x400000}[platform.machine()]
    try:
        torch.set_flush_denormal(True)
        assert maths.fesetround(upward) == 0
        assert some_story() == expected
        assert is_right(engine.load_engine()._name)
        assert maths.fegetround() == upward
    finally:
        maths.fesetround(0)
        torch.set_flush_denormal(False)


def test_a_forked_process_tells_the_same() -> None:
    expected = some_story()
    teller = engine_of(tiny_model(), threads=2)
    read, write = os.pipe()
    if not (child := os.fork()):
        os.write(write, repr(told_by(teller)).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    assert os.read(read, 10_000).decode() == repr(expected)


def test_a_gpu_is_looked_for_only_where_one_may_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    driver = tmp_path / "driver"
    monkeypatch.setattr(opening, "GPU_DRIVERS", (str(driver),))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert opening.may_have_gpu() == (sys.platform == "darwin" and platform.machine() == "arm64")
    driver.touch()
    assert opening.may_have_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not opening.may_have_gpu()
