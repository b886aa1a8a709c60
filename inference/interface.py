"""What engine.c takes, as Python has it: structures of the same layout, memory, and threads that help.

What they mean stands in engine.c, under the same names without the C.
"""

import ctypes
import math
import os
import threading
from ctypes import POINTER, Structure, c_char_p, c_float, c_int32, c_int64, c_uint32, c_void_p
from typing import Any

import numpy as np

SUMS = 16  # as in engine.c
PATIENCE = 20_000  # looks for work before a helper sleeps: about a millisecond


class CLinear(Structure):
    _fields_ = (
        *(("weight", c_void_p), ("scale", c_void_p), ("bias", c_void_p)),
        *(("rows", c_int32), ("cols", c_int32)),
    )


class CEmbedding(Structure):
    _fields_ = (("weight", c_void_p), ("scale", c_void_p))


class CNorm(Structure):
    _fields_ = (("weight", c_void_p), ("bias", c_void_p))


class CBlock(Structure):
    _fields_ = (
        *(("norm1", CNorm), ("norm2", CNorm), ("heads", POINTER(CLinear))),
        *(("out_proj", CLinear), ("up", CLinear), ("down", CLinear)),
    )


class CModel(Structure):
    _fields_ = (
        *((name, c_int32) for name in ("vocab_size", "context_length", "embedding_dim")),
        *(("num_layers", c_int32), ("num_heads", c_int32), ("tokens", CEmbedding), ("positions", CEmbedding)),
        *(("blocks", POINTER(CBlock)), ("norm", CNorm), ("output", CLinear)),
    )


class CText(Structure):
    _fields_ = (("cache", c_void_p), ("room", c_int32))


class CDraw(Structure):
    _fields_ = (
        *(("rows", c_int32), ("top_k", c_int32), ("strength", c_float), ("temperature", c_float)),
        *(("top_p", c_float), ("seed", c_uint32), ("place", c_uint32), ("token", c_int32)),
    )


class CStep(Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("texts", "token", "text", "position", "asking", "draws", "logits")),
        *(("n", c_int32), ("num_draws", c_int32)),
    )


class CRoom(Structure):
    _fields_ = tuple((name, c_void_p) for name in ("x", "normed", "mixed", "q", "wide", "whole", "scale"))


def padded(width: int) -> int:
    return -(-width // SUMS) * SUMS


def zeros(*shape: int, of: Any = np.float32) -> np.ndarray:
    """From the start of a cache line, so that vectors lie in one."""
    size = math.prod(shape) * np.dtype(of).itemsize
    room = np.zeros(size + 63, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(of).reshape(shape)


def declare(library: ctypes.CDLL) -> ctypes.CDLL:
    for name, result, arguments in (
        ("engine_scratch", c_int32, [c_void_p]),
        ("engine_instructions", c_char_p, []),
        ("engine_pool_bytes", c_int64, []),
        ("engine_step", None, [c_void_p] * 5),
        ("engine_help", None, [c_void_p, c_void_p, c_int64]),
        ("engine_is_idle", c_int32, [c_void_p]),
        ("engine_close", None, [c_void_p]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Helpers:
    """Threads that compute pieces of whatever step is done, and sleep when there is none for a while."""

    def __init__(self, library: ctypes.CDLL, count: int, scratch: int) -> None:
        self._library = library
        self._memory = np.zeros(library.engine_pool_bytes() // 8, np.uint64)
        self._pool = self._memory.ctypes.data
        self._awake = threading.Event()
        self._closed = False
        self._process = os.getpid()
        self._threads = [
            threading.Thread(target=self._help, args=[zeros(scratch)], daemon=True) for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _help(self, scratch: np.ndarray) -> None:
        while not self._closed:
            self._library.engine_help(self._pool, scratch.ctypes.data, PATIENCE)
            if not self._closed:
                self._awake.clear()
                self._awake.wait()

    def wake(self) -> int | None:
        """The pool for a step; None in a process that was forked, where no thread is left to help."""
        if self._process != os.getpid():
            return None
        self._awake.set()
        return self._pool

    def close(self) -> None:
        self._closed = True
        self._library.engine_close(self._pool)
        self._awake.set()
        for thread in self._threads:
            thread.join()
