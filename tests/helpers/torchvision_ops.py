"""Make torchvision importable with a build of torch that it was not compiled for.

torchvision's wheels are built for CUDA. With a CPU build of torch their compiled library does not
load, and the import fails on two operators that nothing here calls. Declaring these operators is
enough for torchvision's Python models and for libraries that import it. For tests and benchmarks.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import torch


@functools.cache  # torch removes the operators once the Library object is collected
def define() -> torch.library.Library | None:
    """Declare `torchvision::nms` and `torchvision::qnms`; None if torchvision's own ones load.

    Call this before the first import of torchvision; a second call does nothing.
    """
    if _compiled_library_loads():
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def _compiled_library_loads() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    for file in Path(spec.origin).parent.glob("_C*"):
        try:
            torch.ops.load_library(file)
        except OSError:
            return False
    return hasattr(torch.ops.torchvision, "nms")
