"""State that belongs to the whole process: not touched where that is possible, or put back exactly.

Several threads may explain at once, and the program around them goes on. What one thread saves and
restores, another may have changed meanwhile. So a filter here knows its thread, a thread count is
its thread's own, and what has only one copy is lent to one thread at a time.
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

from scorecam.base.forks import ForkLock

# ── warnings ─────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def quietly(category: type[Warning] = Warning, starts: str = "") -> Generator[None]:
    """Ignore warnings of a category whose message starts like this, in this thread alone.

    `warnings.catch_warnings` replaces the filters of the whole process: when two threads leave it
    in the order in which they entered, the filters of the first are lost.
    """
    entry = ("ignore", _InThread(threading.get_ident(), starts), category, None, 0)
    filters = cast("list[Any]", warnings.filters)
    filters.insert(0, entry)
    try:
        yield
    finally:
        for known in (filters, cast("list[Any]", warnings.filters)):
            with contextlib.suppress(ValueError):  # somebody has put other filters there
                known.remove(entry)


class _InThread:
    """Stands where a filter has a pattern for messages, and asks for the thread as well."""

    def __init__(self, thread: int, starts: str) -> None:
        self._thread = thread
        self._starts = starts

    def match(self, message: str) -> bool:
        return threading.get_ident() == self._thread and message.startswith(self._starts)


# ── environment ──────────────────────────────────────────────────────────────────────────────

_ENVIRONMENT = ForkLock()


@contextlib.contextmanager
def environment(name: str, value: str) -> Generator[None]:
    """An environment variable with another value; one thread at a time, and then as it was."""
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


# ── threads that torch computes with ─────────────────────────────────────────────────────────


@contextlib.contextmanager
def threads(count: int | None) -> Generator[None]:
    """Torch with at most `count` threads, in this thread alone; None for as many as before.

    `torch.set_num_threads` also sets how many every thread starts with that uses torch later. So
    the libraries that torch computes with are asked themselves, where they can be found; elsewhere
    nothing changes but the speed.
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
    """What sets OpenMP's thread count, and MKL's, for the calling thread alone."""
    import torch

    folder = Path(torch.__file__).parent / "lib"
    for path in sorted(folder.glob("libgomp*.so*")):
        with contextlib.suppress(OSError, AttributeError):
            openmp = ctypes.CDLL(str(path)).omp_set_num_threads  # the copy that torch has loaded
            if _works(openmp):
                return openmp, _mkl_setter(folder)
    return None


def _works(set_openmp: Callable[[int], Any]) -> bool:
    """Whether it is torch's thread count that is set."""
    import torch

    before = torch.get_num_threads()
    set_openmp(before + 1)
    try:
        return torch.get_num_threads() == before + 1
    finally:
        set_openmp(before)


def _mkl_setter(folder: Path) -> Callable[[int], int]:
    """MKL's `mkl_set_num_threads_local`, which returns what was set before; 0 is nothing."""
    with contextlib.suppress(OSError, AttributeError):
        return ctypes.CDLL(str(folder / "libtorch_cpu.so")).MKL_Set_Num_Threads_Local
    return lambda _count: 0
