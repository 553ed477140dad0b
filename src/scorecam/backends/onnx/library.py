"""The libraries onnx and onnxruntime, imported where they are needed."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from scorecam.base.fork_lock import ForkLock
from scorecam.base.process_state import environment_variable
from scorecam.io.extras import require

_IMPORT = ForkLock()
TELEMETRY = "ORT_DISABLE_TELEMETRY"


def onnx() -> ModuleType:
    """Import onnx.

    Raises:
        MissingExtra: it is not installed.
    """
    return require("onnx", "onnx", "read ONNX files")


def onnxruntime() -> ModuleType:
    """Import onnxruntime with its telemetry off. Every import goes through here.

    On import, its official builds for Linux and macOS write an id and a database to the home
    folder, and start a thread that sends events to Microsoft. The variable must be set before; the
    function that it has for this purpose comes too late, but helps if a user imported it first.

    Raises:
        MissingExtra: it is not installed.
    """
    with _IMPORT, environment_variable(TELEMETRY, "1"):
        runtime = require("onnxruntime", "onnx", "run ONNX files")
    runtime.disable_telemetry_events()
    return runtime


def schemas() -> Iterable[Any]:
    """The operators that the installed ONNX Runtime knows: each has a name, domain and version.

    Raises:
        MissingExtra: it is not installed.
    """
    onnxruntime()
    state = require("onnxruntime.capi.onnxruntime_pybind11_state", "onnx", "run ONNX files")
    return state.get_all_operator_schema()
