"""How a command line that cannot be parsed is answered."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

from typer.core import TyperGroup

from scorecam.base.wording import one_line

LONGEST_USAGE = 500
"""The most characters of what is wrong with a command line; its usage is printed before it."""


class Commands(TyperGroup):
    """The commands, with messages that quote the user's words visibly and shortly."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _visible_messages():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _visible_messages():
            return super().invoke(ctx)


@contextlib.contextmanager
def _visible_messages() -> Generator[None]:
    """Clean the message of a usage error, which typer prints as it is."""
    try:
        yield
    except Exception as error:
        # The base class of usage errors has moved between typer's versions; they all have these.
        message = getattr(error, "message", None)
        if isinstance(message, str) and hasattr(error, "format_message"):
            error.message = one_line(message, LONGEST_USAGE)  # type: ignore[attr-defined]
        raise
