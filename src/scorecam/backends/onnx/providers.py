"""The execution providers of ONNX Runtime, by the names of torch's devices."""

from __future__ import annotations

from typing import Any, Final

import torch

from scorecam.backends.onnx import library
from scorecam.base.wording import quoted
from scorecam.errors import SettingError

PROVIDERS: Final = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "mps": "CoreMLExecutionProvider",
    "xpu": "OpenVINOExecutionProvider",
}
"""By the type of the device."""

Provider = tuple[str, dict[str, Any]]
"""A provider with its options."""


def provider_for(device: str | torch.device | None) -> Provider:
    """The execution provider for the user's device.

    Raises:
        SettingError: there is no such device, or the installed ONNX Runtime does not support it.
    """
    try:
        chosen = torch.device("cpu" if device is None else device)
    except (RuntimeError, TypeError) as error:
        raise SettingError(
            f"device={quoted(device)} (--device) is not the name of a device.",
            do=f"Give one of {', '.join(PROVIDERS)}, such as cuda:0.",
        ) from error
    usable = usable_devices(library.onnxruntime())
    if chosen.type not in usable:
        raise SettingError(
            f"The installed ONNX Runtime cannot use the device {quoted(str(chosen))}.",
            likely="Its package for graphics cards is onnxruntime-gpu."
            if chosen.type == "cuda"
            else "",
            do=f"Give device= (--device) one of {', '.join(usable)}, or install another ONNX "
            "Runtime.",
        )
    name = PROVIDERS[chosen.type]
    return name, {} if chosen.type == "cpu" else {"device_id": str(chosen.index or 0)}


def usable_devices(runtime: Any) -> list[str]:
    """The types of devices that the installed ONNX Runtime supports, by torch's names."""
    available = runtime.get_available_providers()
    return [kind for kind, provider in PROVIDERS.items() if provider in available]
