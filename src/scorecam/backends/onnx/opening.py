"""Opening ONNX files."""

from __future__ import annotations

import os
from typing import Any

from scorecam.backends.file_specs import names_file, path_in
from scorecam.backends.opener import Opener, Options
from scorecam.model.model import Model


def _takes(given: Any) -> bool:
    return names_file(given, "onnx", (".onnx",))


def _open(given: str | os.PathLike[str], options: Options) -> Model:
    # Not before such a file is opened: the imports take time.
    from scorecam.backends.graphs.opening import graph_model
    from scorecam.backends.onnx.program import onnx_program
    from scorecam.backends.onnx.reading import read_onnx

    file = read_onnx(path_in(given, "onnx"))
    spec = os.fspath(given)
    return graph_model(onnx_program(file), spec, options, file=file.path, metadata=file.metadata)


OPENER = Opener("net.onnx for an ONNX file", _takes, _open)
