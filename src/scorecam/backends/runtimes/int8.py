"""int8 in OpenVINO: NNCF finds the ranges of a converted network on masked images."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import sys
import threading
from collections.abc import Generator
from types import ModuleType
from typing import Any

from scorecam.backends.runtimes import telemetry
from scorecam.base.fork_lock import ForkLock
from scorecam.io.extras import require
from scorecam.shapes import Images

NAME = "int8"

_USING = ForkLock()
"""Held while NNCF is imported and while it runs."""


def quantised(model: Any, images: Images, batch: int) -> Any:
    """The model with weights and activations in int8. Exceptions of NNCF pass through.

    Args:
        model: of OpenVINO, in float32, for batches of this size.
        images: typical inputs, which set the ranges of the activations.
        batch: images per pass; `images` holds a multiple of it.

    Raises:
        ValueError: the model has no operation that NNCF quantises.
    """
    nncf = load()
    batches = [part.numpy() for part in images.split(batch)]
    with _USING, _quiet(nncf):
        result = nncf.quantize(
            model, nncf.Dataset(batches), subset_size=len(batches), fast_bias_correction=True
        )
    if not any(node.get_type_name() == "FakeQuantize" for node in result.get_ops()):
        raise ValueError("it has no operation that runs in int8")
    return result


def moved(distance: float) -> str:
    """A sentence for the user about an engine in int8."""
    return f"int8 moved the map of a few masks by {distance:.2g} (of 1) from the float32 map."


# ── importing it ─────────────────────────────────────────────────────────────────────────────


def load() -> ModuleType:
    """Import the module `nncf` with its telemetry off. Every import goes through here.

    NNCF sends versions and settings to an analytics host, through the package
    `openvino_telemetry`, and writes a client id to the home folder. This also holds for the user's
    own calls of NNCF. It also makes its logger class the default of the whole process.

    Raises:
        MissingExtra: NNCF is not installed.
    """
    with _USING, telemetry.hidden("nncf"):
        logger = logging.getLoggerClass()
        try:
            nncf = require("nncf", "int8", "compute in int8")
        finally:
            logging.setLoggerClass(logger)
        for name, module in list(sys.modules.items()):
            if name.startswith("nncf.") and hasattr(vars(module).get("telemetry"), "send_event"):
                vars(module)["telemetry"] = _Silent()
    return nncf


class _Silent:
    """Takes the place of NNCF's telemetry."""

    def start_session(self, *_: Any, **__: Any) -> None:
        """Send nothing."""

    send_event = end_session = start_session


@contextlib.contextmanager
def _quiet(nncf: ModuleType) -> Generator[None]:
    """Without NNCF's progress bars and messages, which this thread would print."""
    bars: Any = importlib.import_module(f"{nncf.__name__}.common.logging.track_progress")
    logger, bar, own = logging.getLogger(nncf.__name__), bars.Progress, threading.get_ident()

    def others(record: logging.LogRecord) -> bool:
        return record.thread != own

    @functools.wraps(bar)
    def progress(*columns: Any, disable: bool, **settings: Any) -> Any:
        hidden = disable or threading.get_ident() == own
        return bar(*columns, disable=hidden, **settings)

    logger.addFilter(others)
    bars.Progress = progress
    try:
        yield
    finally:
        bars.Progress = bar
        logger.removeFilter(others)
