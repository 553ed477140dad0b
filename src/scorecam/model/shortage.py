"""One error for running out of memory on any device."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import torch

from scorecam.errors import MemoryShortage

MEMORY_RAN_OUT = (
    "out of memory",
    "allocate memory",
    "not enough memory",
    "alloc_failed",
    "unable to find a valid cudnn algorithm",
    "unable to find an engine",
)
"""Phrases in torch's errors when memory ran out, in lower case."""


@contextlib.contextmanager
def memory_errors_translated() -> Generator[None]:
    """Raise `MemoryShortage` for torch's known errors of running out of memory."""
    try:
        yield
    except MemoryShortage:
        raise
    except (MemoryError, RuntimeError) as error:
        message = str(error).lower()
        ran_out = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not (ran_out or any(phrase in message for phrase in MEMORY_RAN_OUT)):
            raise
        raise MemoryShortage(
            "Memory ran out.",
            likely="The input or the model is too large for the device.",
            do="Use a smaller batch or input, or another device.",
        ) from error
