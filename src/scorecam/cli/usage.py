"""Error messages for command lines that cannot be parsed."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

from typer.core import TyperGroup

from scorecam.base.wording import one_line

LONGEST_USAGE = 500
"""The most characters of a usage error; the usage line is printed before it."""


class Commands(TyperGroup):
    """The commands. A usage error is one short line of visible characters."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _visible_messages():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _visible_messages():
            return super().invoke(ctx)


@contextlib.contextmanager
def _visible_messages() -> Generator[None]:
    """Make the message of a usage error printable on one line; typer prints it unchanged."""
    try:
        yield
    except Exception as error:
        # The base class of usage errors depends on typer's version; these attributes do not.
        message = getattr(error, "message", None)
        if isinstance(message, str) and hasattr(error, "format_message"):
            error.message = one_line(message, LONGEST_USAGE)  # type: ignore[attr-defined]
        raise
