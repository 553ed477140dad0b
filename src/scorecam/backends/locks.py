"""Locks for networks that share modules.

Threads meet here. `_LOCKS` gives each module one lock, and `_REGISTRY` guards it. `_INSIDE` is
each thread's own.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Generator
from weakref import WeakKeyDictionary

from torch import nn

from scorecam.base.fork_lock import ForkLock

_REGISTRY = ForkLock()
_NUMBER = itertools.count()
_LOCKS: WeakKeyDictionary[nn.Module, tuple[int, ForkLock]] = WeakKeyDictionary()
_INSIDE = threading.local()


def _lock_of(module: nn.Module) -> tuple[int, ForkLock]:
    found = _LOCKS.get(module)
    if found is None:
        with _REGISTRY:
            found = _LOCKS.setdefault(module, (next(_NUMBER), ForkLock()))
    return found


@contextlib.contextmanager
def exclusively(module: nn.Module) -> Generator[None]:
    """One caller at a time for networks that share a module, such as two wrappers of one backbone.

    The caller takes the locks of all modules of the network, in the same order every time. A thread
    that already holds some takes no more: it could wait for a thread that waits for it.
    """
    if inside():
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


def inside() -> bool:
    """Whether this thread holds such locks. Then it must not wait for other threads."""
    return getattr(_INSIDE, "running", False)
