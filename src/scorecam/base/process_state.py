"""State of the whole process, such as warning filters: left alone if possible, else restored.

Several threads may explain at the same time, while the rest of the program runs. State that one
thread saves and restores may be changed by another in between. So filters here apply to one
thread, thread counts are set for one thread, and environment variables are changed by one thread
at a time.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, cast

from scorecam.base.fork_lock import ForkLock

# ── warnings ─────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def ignore_warnings(category: type[Warning] = Warning, starts: str = "") -> Generator[None]:
    """Ignore warnings of a category whose message starts with a text, in this thread only.

    `warnings.catch_warnings` replaces the filters of the whole process: if two threads leave it in
    the order in which they entered, the filters of the first are lost.
    """
    entry = ("ignore", _InThread(threading.get_ident(), starts), category, None, 0)
    filters = cast("list[Any]", warnings.filters)
    filters.insert(0, entry)
    try:
        yield
    finally:
        for known in (filters, cast("list[Any]", warnings.filters)):
            with contextlib.suppress(ValueError):  # other code has replaced the filters
                known.remove(entry)


class _InThread:
    """Takes the place of a filter's message pattern, and also compares the thread."""

    def __init__(self, thread: int, starts: str) -> None:
        self._thread = thread
        self._starts = starts

    def match(self, message: str) -> bool:
        return threading.get_ident() == self._thread and message.startswith(self._starts)


# ── environment ──────────────────────────────────────────────────────────────────────────────

_ENVIRONMENT = ForkLock()


@contextlib.contextmanager
def environment_variable(name: str, value: str) -> Generator[None]:
    """Set an environment variable in the block, in one thread at a time, and restore it."""
    with _ENVIRONMENT:
        before = os.environ.get(name)
        os.environ[name] = value
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = before


# ── torch's threads ──────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def torch_threads(count: int | None) -> Generator[None]:
    """Limit torch to `count` threads for calls from this thread; None changes nothing.

    `torch.set_num_threads` also changes the default of threads that use torch later. So this sets
    the counts of OpenMP and MKL directly, if they are found. If not, only the speed differs.
    """
    import torch

    before = torch.get_num_threads()
    if count is None or count >= before or not (setters := _thread_setters()):
        yield
        return
    set_openmp, set_mkl = setters
    own = set_mkl(count)
    set_openmp(count)
    try:
        yield
    finally:
        set_openmp(before)
        set_mkl(own)


@functools.cache
def _thread_setters() -> tuple[Callable[[int], Any], Callable[[int], int]] | None:
    """Functions that set the thread count of OpenMP and of MKL for the calling thread."""
    import torch

    folder = Path(torch.__file__).parent / "lib"
    for path in sorted(folder.glob("libgomp*.so*")):
        with contextlib.suppress(OSError, AttributeError):
            openmp = ctypes.CDLL(str(path)).omp_set_num_threads  # the copy that torch loaded
            if _works(openmp):
                return openmp, _mkl_setter(folder)
    return None


def _works(set_openmp: Callable[[int], Any]) -> bool:
    """Whether the function changes torch's thread count."""
    import torch

    before = torch.get_num_threads()
    set_openmp(before + 1)
    try:
        return torch.get_num_threads() == before + 1
    finally:
        set_openmp(before)


def _mkl_setter(folder: Path) -> Callable[[int], int]:
    """MKL's `mkl_set_num_threads_local`; it returns the previous value, or 0 if none was set."""
    with contextlib.suppress(OSError, AttributeError):
        return ctypes.CDLL(str(folder / "libtorch_cpu.so")).MKL_Set_Num_Threads_Local
    return lambda _count: 0
