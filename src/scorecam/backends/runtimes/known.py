"""The runtimes that convert networks, by name."""

from __future__ import annotations

import importlib

from scorecam.backends.runtimes.runtime import Runtime
from scorecam.model import runtimes

EAGER = "eager"
"""The network itself, which needs no conversion."""


def _adapter(name: str) -> Runtime:
    return importlib.import_module(f"scorecam.backends.runtimes.{name}").RUNTIME


RUNTIMES: dict[str, Runtime] = {
    name: _adapter(name) for name in runtimes.RUNTIMES if name not in ("auto", EAGER)
}
"""In the order in which runtime="auto" tries them. Each adapter is in the file with its name."""
