"""ONNX files of small networks, exported from torch or written by hand."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from scorecam.backends.onnx import library


def exported(
    net: nn.Module,
    inputs: Tensor | tuple[Tensor, ...],
    path: Path,
    *,
    names: Sequence[str] = ("x",),
    dynamic: bool = True,
) -> Path:
    """A network as an ONNX file, with the output `y`."""
    axes = {name: {0: "batch"} for name in (*names, "y")} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(),
            inputs if isinstance(inputs, tuple) else (inputs,),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=list(names),
            output_names=["y"],
            dynamic_axes=axes,
        )
    return path


def written(
    path: Path,
    nodes: Sequence[Any],
    inputs: dict[str, tuple[int, Sequence[int | str]]],
    outputs: dict[str, Sequence[int | str] | None],
    weights: dict[str, np.ndarray[Any, Any]],
) -> Path:
    """A graph of these nodes as an ONNX file.

    Args:
        inputs: the type and the shape of each.
        outputs: the shape of each; None if it is not declared.
        weights: by name.
    """
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info(name, *value) for name, value in inputs.items()],
        [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
            for name, shape in outputs.items()
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def quantised(path: Path, images: Tensor, out: Path, *, operators: bool = False) -> Path:
    """An int8 copy of an ONNX file, calibrated on images.

    Args:
        operators: operations on integers (QOperator) instead of pairs of conversions (QDQ).
    """
    library.onnxruntime()  # without telemetry
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Batches(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches: Iterator[dict[str, Any]] = iter(
                [{"x": image[None].numpy()} for image in images]
            )

        def get_next(self) -> Any:
            return next(self.batches, None)

    kind = QuantFormat.QOperator if operators else QuantFormat.QDQ
    quantize_static(str(path), str(out), Batches(), quant_format=kind)
    return out
