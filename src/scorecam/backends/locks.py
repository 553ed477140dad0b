"""Locks that survive a fork, and the turn-taking of callers that share modules."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Generator
from types import TracebackType
from weakref import WeakKeyDictionary, WeakSet

from torch import nn


class ForkLock:
    """A re-entrant lock that is free in the child after a fork.

    A thread that held it is not copied into the child, and could never release it there.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _EVERY.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Forget who holds it."""
        self._lock = threading.RLock()


_EVERY: WeakSet[ForkLock] = WeakSet()


def _after_fork() -> None:
    for lock in list(_EVERY):
        lock.renew()
    _INSIDE.__dict__.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)


# ── turns ────────────────────────────────────────────────────────────────────────────────────


_REGISTRY = ForkLock()
_NUMBER = itertools.count()
_OF_MODULE: WeakKeyDictionary[nn.Module, tuple[int, ForkLock]] = WeakKeyDictionary()
_INSIDE = threading.local()


def _lock_of(module: nn.Module) -> tuple[int, ForkLock]:
    found = _OF_MODULE.get(module)
    if found is None:
        with _REGISTRY:
            found = _OF_MODULE.setdefault(module, (next(_NUMBER), ForkLock()))
    return found


@contextlib.contextmanager
def exclusively(module: nn.Module) -> Generator[None]:
    """One caller at a time for networks that share a module, such as two wrappers of one backbone.

    There is one lock per module, and all of a network's are taken, always in the same order. A
    caller that is inside already takes no more: it could wait for a thread that waits for it.
    """
    if getattr(_INSIDE, "running", False):
        yield
        return
    with contextlib.ExitStack() as turn:
        locks = dict(_lock_of(child) for child in module.modules())
        for number in sorted(locks):
            turn.enter_context(locks[number])
        _INSIDE.running = True
        try:
            yield
        finally:
            _INSIDE.running = False
