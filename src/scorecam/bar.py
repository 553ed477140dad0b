"""Progress on a terminal, and what a long computation will cost."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from scorecam.scoring import Progress

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
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.markup import escape
            from rich.progress import Progress as RichBar

            self.bar = RichBar(console=Console(stderr=True), transient=True)
            self.bar.start()
            self.task = self.bar.add_task(escape(self.name), total=None)
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
                typer.echo(f"{what}, about {seconds:.0f} s{less}.", err=True)
        if self.bar is not None:
            self.bar.update(self.task, completed=progress.done, total=progress.total)
