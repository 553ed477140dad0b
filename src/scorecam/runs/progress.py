"""The progress of a run, for callers that show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RunProgress:
    """The photos of a run that are finished.

    Args:
        done: finished photos, including those of earlier processes.
        total: all photos of this shard.
        fresh: finished by this process.
        failed: failed in this process.
        seconds: since this process began.
    """

    done: int
    total: int
    fresh: int
    failed: int
    seconds: float

    @property
    def left(self) -> float | None:
        """The estimated seconds until the end; None before the first photo."""
        if not self.fresh:
            return None
        return (self.total - self.done) * self.seconds / self.fresh


OnProgress = Callable[[RunProgress], None]
