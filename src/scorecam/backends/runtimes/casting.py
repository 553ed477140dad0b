"""Half precision: where a device computes fast in it, and PyTorch's way to use it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from scorecam.model.engine import Engine

PRECISIONS = ("float32", "bfloat16", "float16")
"""The number formats in which PyTorch runs a network of float32."""

VOLTA, AMPERE = 7, 8
"""The first CUDA devices that are fast in float16, and in bfloat16: major capabilities."""


def half_precision(device: torch.device) -> str | None:
    """The half precision that this device computes fast in; None where it has none."""
    if device.type == "cuda":
        return _on_gpu(device)
    if device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001
        instructions: bool = torch.cpu._is_avx512_bf16_supported()  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001
        return "bfloat16" if instructions else None
    return None


def _on_gpu(device: torch.device) -> str | None:
    if torch.version.hip:
        return "bfloat16"
    # torch.cuda.is_bf16_supported is also true where bfloat16 is emulated, and slow.
    major, _ = torch.cuda.get_device_capability(device)
    if major >= AMPERE:
        return "bfloat16"
    return "float16" if major >= VOLTA else None


def autocast(
    scores: Callable[[Tensor], Tensor], device: torch.device, precision: str
) -> Callable[[Tensor], Tensor]:
    """The same function, computed in `precision`; the network's weights stay as they are."""
    if precision == "float32":
        return scores
    dtype = getattr(torch, precision)

    def cast(images: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype=dtype):
            return scores(images)

    return cast


def in_precision(plain: Engine, device: torch.device, precision: str) -> Engine:
    """The engine that runs the network itself, computing in `precision`."""
    scores = autocast(plain.scores, device, precision)
    return dataclasses.replace(plain, scores=scores, precision=precision)
