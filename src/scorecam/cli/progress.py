"""Progress on a terminal, and what a long computation will cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scorecam.cli.output import say, terminal_bar

if TYPE_CHECKING:
    from scorecam.runs.evaluate import Progress as RunProgress
    from scorecam.scoring.progress import Progress

LONG = 10.0
"""Seconds from which a computation's cost is worth saying before it is paid."""


class Bar:
    """A bar on a terminal's stderr; everywhere, one line that says what a long run will cost.

    Args:
        name: of the image.
        where: the model, and what it runs on.
        few: how many masks a reduced budget would ask about instead; None where one is chosen.
    """

    def __init__(self, name: str, where: str, few: int | None = None) -> None:
        self.name = name
        self.where = where
        self.few = few
        self.began = time.perf_counter()
        self.told = False
        self.bar: Any = None
        self.task: Any = None

    def __enter__(self) -> Callable[[Progress], None]:
        if begun := terminal_bar(self.name):
            self.bar, self.task = begun
        return self.update

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, progress: Progress) -> None:
        """Move the bar; after the first batch, say what all of them will cost."""
        if progress.done == 0:
            self.began = time.perf_counter()
        elif not self.told:
            self.told = True
            seconds = (time.perf_counter() - self.began) * progress.total / progress.done
            if seconds > LONG:
                what = f"{self.name}: {progress.total} masked images for {self.where}"
                less = ""
                if self.few is not None and self.few < progress.total:
                    less = f"; with --budget fast about {seconds * self.few / progress.total:.0f} s"
                say(f"{what}, about {seconds:.0f} s{less}.")
        if self.bar is not None:
            self.bar.update(self.task, completed=progress.done, total=progress.total)


EVERY = 10.0
"""Seconds between the lines that tell of a run where there is no terminal."""


class RunBar:
    """How far a run has come: a bar on a terminal's stderr, elsewhere a line now and then.

    Args:
        name: of the model.

    Attributes:
        fresh: photos that this process has finished.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.fresh = 0
        self.bar: Any = None
        self.task: Any = None
        self._told = time.perf_counter()

    def __enter__(self) -> Callable[[RunProgress], None]:
        if begun := terminal_bar(self.name, "rate"):
            self.bar, self.task = begun
        return self.update

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, progress: RunProgress) -> None:
        """Tell of one more photo."""
        self.fresh = progress.fresh
        rate = f"{progress.fresh / max(progress.seconds, 1e-9):.2g} photos/s"
        if progress.failed:
            rate += f", {progress.failed} failed"
        if self.bar is not None:
            self.bar.update(self.task, completed=progress.done, total=progress.total, rate=rate)
            return
        now = time.perf_counter()
        if now - self._told >= EVERY or progress.done == progress.total:
            self._told = now
            left = "" if progress.left is None else f", about {_duration(progress.left)} left"
            say(f"{self.name}: {progress.done} of {progress.total}, {rate}{left}.")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
