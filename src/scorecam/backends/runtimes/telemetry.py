"""Keeping libraries from importing the package that sends usage data for them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator
from types import ModuleType
from typing import cast

PACKAGE = "openvino_telemetry"


@contextlib.contextmanager
def hidden(importer: str) -> Generator[None]:
    """In this context the package cannot be imported, as if it were not installed.

    Args:
        importer: the module that would import it. If it is loaded already, nothing is hidden.
    """
    if importer in sys.modules:
        yield  # nothing will import it
        return
    loaded = sys.modules.get(PACKAGE)
    sys.modules[PACKAGE] = cast("ModuleType", None)  # makes `import` raise ImportError
    try:
        yield
    finally:
        if loaded is None:
            sys.modules.pop(PACKAGE, None)
        else:
            sys.modules[PACKAGE] = loaded


def replace(stub: ModuleType) -> None:
    """Replace the package by the stub in OpenVINO's modules, if it was imported before."""
    real = sys.modules.get(PACKAGE)
    if real is None:
        return
    for name, module in list(sys.modules.items()):
        if name.startswith("openvino.tools."):
            for attribute, value in list(vars(module).items()):
                if value is real:
                    setattr(module, attribute, stub)
