"""Freed memory stays with the command's process, which halves the time of small networks.

By default, glibc returns large freed blocks, such as a layer's activations, to the kernel. The next
layer then waits until the kernel has cleared new pages. The process belongs to the command, so this
setting affects nobody else. The library never sets it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names of settings in glibc's malloc.h."""

LARGEST = 2**30
"""Freed blocks and free ends of the heap up to this size are kept, in bytes."""

OWN = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""How environment variables begin with which users choose other settings."""


def keep_freed_memory() -> None:
    """Keep freed memory for later use, where glibc is in use and the user has set nothing else."""
    if any(name.startswith(OWN) for name in os.environ):
        return
    with contextlib.suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version()  # other C libraries do not have it
        library.mallopt(MMAP_THRESHOLD, LARGEST)
        library.mallopt(TRIM_THRESHOLD, LARGEST)
