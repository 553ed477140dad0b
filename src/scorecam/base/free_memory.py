"""Memory that the C library keeps after it was freed, given back to the system.

glibc keeps freed blocks of up to 32 MiB, often as large as all activations of a pass. After a
conversion nothing of that size is needed again. This changes no setting of the process.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Generator


@contextlib.contextmanager
def free_memory_returned() -> Generator[None]:
    """Give freed memory back to the system, before and after the work in this context."""
    _trim()
    try:
        yield
    finally:
        _trim()


def _trim() -> None:
    with contextlib.suppress(OSError, AttributeError, TypeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
