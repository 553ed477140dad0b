"""Commands that can be resumed from their output folder: progress, and stopping early."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from scorecam.base.wording import shortened
from scorecam.cli.exits import INTERRUPTED, SOME_FAILED
from scorecam.cli.output import print_message
from scorecam.cli.progress import RunProgressBar
from scorecam.errors import MemoryShortage, OutputError

if TYPE_CHECKING:
    from scorecam.runs.progress import RunProgress


@contextlib.contextmanager
def resumable(name: str, out: str) -> Generator[Callable[[RunProgress], None]]:
    """A progress bar; if the command has to stop, print how to resume it.

    Args:
        name: shown next to the bar.
        out: the command's output folder.
    """
    advice = f"Results so far are kept in {shortened(out, 200)}; run the same command to resume."
    try:
        with RunProgressBar(name) as progress, redirect_stdout(sys.stderr):
            yield progress
    except (OutputError, MemoryShortage) as error:
        if not _has_results(out):
            raise
        print_message(f"scorecam: {error} {advice}")
        raise typer.Exit(SOME_FAILED) from error
    except KeyboardInterrupt as interrupt:
        print_message(f"scorecam: interrupted. {advice}")
        raise typer.Exit(INTERRUPTED) from interrupt


def _has_results(out: str) -> bool:
    """Whether a folder contains a record of a run, or a comparison."""
    with contextlib.suppress(OSError):
        patterns = ("**/items/*/??/*.json", "compare.json")
        return any(any(Path(out).glob(pattern)) for pattern in patterns)
    return False
