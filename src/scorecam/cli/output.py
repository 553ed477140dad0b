"""Printing. All output of the commands goes through here, so that no text can control the terminal.

Each line is printed as one line of visible characters, whatever names it contains.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import typer

from scorecam.base.wording import LONGEST_PARAGRAPH, json_safe, shortened, visible

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def print_lines(*lines: str) -> None:
    """Print results on stdout, one line each."""
    for line in lines:
        typer.echo(visible(line))


def print_text(text: str) -> None:
    """Print a text of several lines, such as a table."""
    print_lines(*text.rstrip("\n").split("\n"))


def print_document(text: str) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json_safe(text))


def print_message(line: str) -> None:
    """Print one line on stderr: an error, a warning or a remark.

    Errors while writing to stderr, such as a full disk, are ignored.
    """
    with contextlib.suppress(OSError):
        typer.echo(shortened(visible(line), LONGEST_PARAGRAPH), err=True)


def terminal_bar(name: str, *columns: str) -> tuple[Progress, TaskID] | None:
    """A started progress bar on stderr and its task; None if stderr is not a terminal.

    Args:
        name: shown before the bar, unchanged: square brackets are not markup.
        columns: names of the task's fields to show after the bar.
    """
    if not sys.stderr.isatty():
        return None
    from rich import progress
    from rich.console import Console

    fields = [progress.TextColumn("{task.fields[" + name + "]}", markup=False) for name in columns]
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
