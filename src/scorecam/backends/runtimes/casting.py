"""Half precision: where a device computes fast in it, and PyTorch's way to use it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PRECISIONS = ("float32", "bfloat16", "float16")
"""The number formats in which PyTorch runs a network of float32."""


def half_precision(device: torch.device) -> str | None:
    """The half precision that this device computes fast in; None where it has none."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    if device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001
        instructions: bool = torch.cpu._is_avx512_bf16_supported()  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001
        return "bfloat16" if instructions else None
    return None


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
