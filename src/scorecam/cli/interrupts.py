"""SIGTERM and SIGHUP end a command as Ctrl-C does."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Generator
from types import FrameType

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Signals that schedulers, service managers and closing terminals send to stop a program."""


@contextlib.contextmanager
def interruptible() -> Generator[None]:
    """While the block runs, these signals raise KeyboardInterrupt, unless they have a handler.

    If `nohup` has set SIGHUP to be ignored, it stays ignored. A second signal is ignored, because
    the first has already begun to end the command. Only commands use this; the library sets no
    signal handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    unhandled = [number for number in STOP_SIGNALS if signal.getsignal(number) is signal.SIG_DFL]

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in unhandled:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in unhandled:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in unhandled:
            signal.signal(number, signal.SIG_DFL)
