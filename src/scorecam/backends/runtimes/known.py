"""The runtimes that convert networks, by name."""

from __future__ import annotations

from typing import NamedTuple

from scorecam.backends.runtimes import compile as torch_compile
from scorecam.backends.runtimes import openvino
from scorecam.backends.runtimes.runtime import Runtime

EAGER = "eager"
"""The network itself, which needs no conversion."""

RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime for runtime in (torch_compile.RUNTIME, openvino.RUNTIME)
}
"""In the order in which runtime="auto" tries them. To add a runtime, add its file and a line."""

CALIBRATED = tuple(
    dict.fromkeys(name for runtime in RUNTIMES.values() for name in runtime.calibrated)
)
"""Precisions that a runtime calibrates on masked images, for networks on a processor."""


class Candidate(NamedTuple):
    """A runtime and a precision that may score masked images."""

    runtime: str
    precision: str
