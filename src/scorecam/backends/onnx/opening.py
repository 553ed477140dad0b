"""Opening ONNX files."""

from __future__ import annotations

import os
from typing import Any

from scorecam.backends.graphs.opening import graph_model, names_file, path_in
from scorecam.backends.onnx.program import onnx_program
from scorecam.backends.onnx.reading import read_onnx
from scorecam.backends.opener import Opener, Options
from scorecam.model.model import Model


def _takes(given: Any) -> bool:
    return names_file(given, "onnx", (".onnx",))


def _open(given: str | os.PathLike[str], options: Options) -> Model:
    file = read_onnx(path_in(given, "onnx"))
    program = onnx_program(file)
    return graph_model(program, os.fspath(given), options, file=file.path, metadata=file.metadata)


OPENER = Opener("net.onnx for an ONNX file", _takes, _open)
