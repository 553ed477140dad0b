"""Files of OpenVINO with small networks, converted from torch or from OpenVINO's operations."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scorecam.backends.runtimes.openvino import load


def converted(net: nn.Module, images: Tensor, path: Path, *, dynamic: bool = True) -> Path:
    """A network as a model of OpenVINO, in two files.

    Args:
        images: an example. Its size is fixed in the file.
        dynamic: whether the file takes any batch; else that of the example.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        model = load().convert_model(net.eval(), example_input=images)
    batch = -1 if dynamic else len(images)
    model.reshape([batch, *images.shape[1:]])
    return saved(model, path)


def saved(model: Any, path: Path) -> Path:
    """The files of a model of OpenVINO, with weights in float32."""
    load().save_model(model, path, compress_to_fp16=False)
    return path
