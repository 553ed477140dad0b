"""Progress bars on a terminal, and messages about the cost of long computations."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scorecam.cli.output import print_message, terminal_bar

if TYPE_CHECKING:
    from scorecam.runs.progress import RunProgress
    from scorecam.scoring.progress import Progress

LONG_SECONDS = 10.0
"""A computation that takes longer than this prints its estimated cost early on."""

MESSAGE_SECONDS = 10.0
"""Seconds between messages about a run if stderr is not a terminal."""


class MaskProgressBar:
    """Progress over one image's masks: a bar on a terminal, and one message if it is slow.

    Args:
        name: of the image.
        where: the model and its device.
        fast_masks: how many masks --budget fast would score; None if a budget was chosen.
    """

    def __init__(self, name: str, where: str, fast_masks: int | None = None) -> None:
        self.name = name
        self.where = where
        self.fast_masks = fast_masks
        self._began = time.perf_counter()
        self._cost_is_printed = False
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Callable[[Progress], None]:
        if started := terminal_bar(self.name):
            self._bar, self._task = started
        return self.update

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, progress: Progress) -> None:
        """Move the bar; after the first batch, estimate the cost of all batches."""
        if progress.done == 0:
            self._began = time.perf_counter()
        elif not self._cost_is_printed:
            self._cost_is_printed = True
            self._print_cost(progress)
        if self._bar is not None:
            self._bar.update(self._task, completed=progress.done, total=progress.total)

    def _print_cost(self, progress: Progress) -> None:
        seconds = (time.perf_counter() - self._began) * progress.total / progress.done
        if seconds <= LONG_SECONDS:
            return
        faster = ""
        if self.fast_masks is not None and self.fast_masks < progress.total:
            fast_seconds = seconds * self.fast_masks / progress.total
            faster = f"; with --budget fast about {fast_seconds:.0f} s"
        print_message(
            f"{self.name}: {progress.total} masked images for {self.where}, "
            f"about {seconds:.0f} s{faster}."
        )


class RunProgressBar:
    """Progress over the photos of a run: a bar on a terminal, occasional messages otherwise.

    Args:
        name: of the model.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._bar: Any = None
        self._task: Any = None
        self._last_message = time.perf_counter()

    def __enter__(self) -> Callable[[RunProgress], None]:
        if started := terminal_bar(self.name, "rate"):
            self._bar, self._task = started
        return self.update

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, progress: RunProgress) -> None:
        """Show that one more photo is done."""
        rate = f"{progress.fresh / max(progress.seconds, 1e-9):.2g} photos/s"
        if progress.failed:
            rate += f", {progress.failed} failed"
        if self._bar is not None:
            done, total = progress.done, progress.total
            self._bar.update(self._task, completed=done, total=total, rate=rate)
            return
        now = time.perf_counter()
        if now - self._last_message >= MESSAGE_SECONDS or progress.done == progress.total:
            self._last_message = now
            left = "" if progress.left is None else f", about {_duration(progress.left)} left"
            print_message(f"{self.name}: {progress.done} of {progress.total}, {rate}{left}.")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
