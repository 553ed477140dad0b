"""Being asked to stop: SIGTERM and SIGHUP end a command as Ctrl-C does."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Generator
from types import FrameType

ASKED = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals by which schedulers, service managers and closing terminals ask a program to stop."""


@contextlib.contextmanager
def interruptible() -> Generator[None]:
    """While the block runs, these signals raise KeyboardInterrupt, unless they have a handler.

    `nohup` ignores SIGHUP, and that stays so. A second signal is ignored: the first has begun to
    end the command. Only commands use this: the library sets no handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in ASKED if signal.getsignal(number) is signal.SIG_DFL]

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in ours:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
