"""Opening files of OpenVINO and TFLite, and ONNX files in OpenVINO."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import torch

from scorecam.backends.diagnosis import Diagnosis, Optional
from scorecam.backends.file_specs import names_file, path_in
from scorecam.backends.opener import Opener, Options
from scorecam.base.wording import quoted
from scorecam.errors import MissingExtra, SettingError
from scorecam.model.model import Model


def _takes(given: Any) -> bool:
    return names_file(given, "openvino", (".xml", ".tflite"))


def _open(given: str | os.PathLike[str], options: Options) -> Model:
    # Not before such a file is opened: the imports take time.
    from scorecam.backends.graphs.opening import graph_model
    from scorecam.backends.openvino.batching import REMARK, for_any_batch
    from scorecam.backends.openvino.files import read
    from scorecam.backends.openvino.program import openvino_program

    check_device(options.device)
    file = read(path_in(given, "openvino"))
    batched = for_any_batch(file.model)
    network = file.model if batched is None else batched
    program = openvino_program(network, file.identity, has_names=file.has_names)
    spec = os.fspath(given)
    model = graph_model(program, spec, options, file=file.path, metadata=file.metadata)
    return model if batched is None else replace(model, remarks=(*model.remarks, REMARK))


def check_device(device: str | torch.device | None) -> None:
    """Refuse other devices than the processor.

    Raises:
        SettingError: it is another, or there is no such device.
    """
    if device is None or str(device).partition(":")[0] == "cpu":
        return
    raise SettingError(
        f"OpenVINO cannot use device={quoted(str(device))} (--device) here.",
        likely="scorecam runs OpenVINO on the processor only.",
        do="Give cpu, or leave it out. An ONNX file runs on other devices in ONNX Runtime.",
    )


def _diagnosis() -> Diagnosis:
    try:
        from scorecam.backends.runtimes.openvino import load

        version = str(load().__version__).partition("-")[0]
    except MissingExtra:
        return Diagnosis(optional=OPTIONAL)
    return Diagnosis({"openvino": version}, optional=OPTIONAL)


OPTIONAL = [Optional("openvino", "OpenVINO and TFLite files", "pip install 'scorecam[openvino]'")]

OPENER = Opener(
    "net.xml or net.tflite for a file of OpenVINO or TFLite, openvino:net.onnx for an ONNX file in "
    "OpenVINO",
    _takes,
    _open,
    diagnosis=_diagnosis,
)
