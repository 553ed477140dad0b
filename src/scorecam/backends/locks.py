"""Locks for networks that share modules.

Threads share this state. `_LOCKS` has one lock per module, and `_REGISTRY` guards it. `_INSIDE` is
local to each thread.
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
    numbered_lock = _LOCKS.get(module)
    if numbered_lock is None:
        with _REGISTRY:
            numbered_lock = _LOCKS.setdefault(module, (next(_NUMBER), ForkLock()))
    return numbered_lock


@contextlib.contextmanager
def exclusively(module: nn.Module) -> Generator[None]:
    """Admit one caller at a time to networks that share a module, such as wrappers of one backbone.

    The caller takes the locks of all modules of the network, in the same order every time. A thread
    that already holds such locks takes no more, to avoid a deadlock.
    """
    if inside():
        yield
        return
    with contextlib.ExitStack() as locked:
        locks = dict(_lock_of(child) for child in module.modules())
        for number in sorted(locks):
            locked.enter_context(locks[number])
        _INSIDE.running = True
        try:
            yield
        finally:
            _INSIDE.running = False


def inside() -> bool:
    """Whether this thread holds such locks. Then it must not wait for other threads."""
    return getattr(_INSIDE, "running", False)
