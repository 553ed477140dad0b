"""Files of deployed networks, and what their own runtime answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deployed_files

OpenFile = Callable[[str], Path]
Direct = Callable[..., dict[str, np.ndarray[Any, Any]]]


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> OpenFile:
    """A function from the name of a file to the file."""
    folder = tmp_path_factory.mktemp("deployed")

    def find(name: str) -> Path:
        target = folder / name
        return target if target.exists() else deployed_files.extracted(name, folder)

    return find


@pytest.fixture(scope="session")
def direct() -> Direct:
    """A function that runs an ONNX file in ONNX Runtime itself, and returns its outputs by name."""

    def run(file: Path, **inputs: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        from scorecam.backends.onnx.library import onnxruntime

        session = onnxruntime().InferenceSession(str(file))
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs), strict=True))

    return run
