"""The one place where the commands print: nothing foreign reaches a terminal as it is.

A line is printed as one line of visible characters, whatever names are in it.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import typer

from scorecam.base.wording import LONGEST, json_safe, shortened, visible

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def answer(*lines: str) -> None:
    """Print what was asked for: each line as one line on stdout."""
    for line in lines:
        typer.echo(visible(line))


def answer_text(text: str) -> None:
    """Print a text of several lines, such as a table, in which names were escaped already."""
    answer(*text.rstrip("\n").split("\n"))


def answer_json(text: str) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json_safe(text))


def say(line: str) -> None:
    """Print one line on stderr: what the user should hear of beside the answer.

    That nobody can read it, as where stderr leads to a full disk, changes nothing else.
    """
    with contextlib.suppress(OSError):
        typer.echo(shortened(visible(line), LONGEST), err=True)


def terminal_bar(name: str, *columns: str) -> tuple[Progress, TaskID] | None:
    """A progress bar on stderr and its task, both begun; None where that is not a terminal.

    Args:
        name: what is under way; its markup means nothing.
        columns: fields of the task that are shown at the end of the bar.
    """
    if not sys.stderr.isatty():
        return None
    from rich import progress
    from rich.console import Console

    fields = [progress.TextColumn("{task.fields[" + each + "]}", markup=False) for each in columns]
    bar = progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        *progress.Progress.get_default_columns()[1:],
        *([progress.MofNCompleteColumn()] if columns else []),
        *fields,
        console=Console(stderr=True),
        transient=True,
    )
    bar.start()
    empty: dict[str, Any] = dict.fromkeys(columns, "")
    return bar, bar.add_task(visible(name), total=None, **empty)
