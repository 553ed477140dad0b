"""The turn-taking of callers that share modules."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Generator
from weakref import WeakKeyDictionary

from torch import nn

from scorecam.base.forks import ForkLock

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
    """Whether this thread has its turn: then it must not wait for another that may want one."""
    return getattr(_INSIDE, "running", False)
