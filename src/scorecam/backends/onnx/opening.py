"""Opening ONNX files."""

from __future__ import annotations

import os
from typing import Any

from scorecam.backends.diagnosis import Diagnosis, Optional
from scorecam.backends.file_specs import names_file, path_in
from scorecam.backends.opener import Opener, Options
from scorecam.errors import MissingExtra
from scorecam.model.model import Model


def _takes(given: Any) -> bool:
    return names_file(given, "onnx", (".onnx",))


def _open(given: str | os.PathLike[str], options: Options) -> Model:
    # Not before such a file is opened: the imports take time.
    from scorecam.backends.graphs.opening import graph_model
    from scorecam.backends.onnx.program import onnx_program
    from scorecam.backends.onnx.providers import provider_for
    from scorecam.backends.onnx.reading import read_onnx

    file = read_onnx(path_in(given, "onnx"))
    program = onnx_program(file, provider_for(options.device))
    spec = os.fspath(given)
    return graph_model(program, spec, options, file=file.path, metadata=file.metadata)


def _diagnosis() -> Diagnosis:
    try:
        from scorecam.backends.onnx import library
        from scorecam.backends.onnx.providers import usable_devices

        runtime = library.onnxruntime()
        versions = {"onnx": library.onnx().__version__, "onnxruntime": runtime.__version__}
    except MissingExtra:
        return Diagnosis(optional=OPTIONAL)
    devices = ", ".join(usable_devices(runtime))
    return Diagnosis(versions, optional=OPTIONAL, advice=[f"ONNX files run on  {devices}"])


OPTIONAL = [Optional("onnxruntime", "ONNX files", "pip install 'scorecam[onnx]'")]

OPENER = Opener("net.onnx for an ONNX file", _takes, _open, diagnosis=_diagnosis)
