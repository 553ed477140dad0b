"""Locks that survive a fork."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from weakref import WeakSet


class ForkLock:
    """A re-entrant lock that is free in the child after a fork, unless the forking thread holds it.

    Other threads are not copied into the child, so they could never release it there.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._owner = 0
        self._depth = 0
        _ALL.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()
        self._owner = threading.get_ident()
        self._depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = 0
        self._lock.release()

    def renew(self) -> None:
        """After a fork: release the lock if a thread other than the calling one held it."""
        self._lock = threading.RLock()
        if self._owner != threading.get_ident():
            self._owner = self._depth = 0
        for _ in range(self._depth):
            self._lock.acquire()


_ALL: WeakSet[ForkLock] = WeakSet()


def _renew_all() -> None:
    for lock in list(_ALL):
        lock.renew()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_renew_all)
