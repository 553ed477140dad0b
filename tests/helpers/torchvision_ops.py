"""Lets torchvision be imported beside a torch it was not compiled for.

torchvision's wheels are built for CUDA: next to CPU torch their compiled library does not load, and
the import then fails on two operators that nothing here calls. Declaring them is enough for its
Python models, and for the libraries that import it. Tests and benchmarks only.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import torch


@functools.cache  # torch forgets the operators when the Library object is collected
def define() -> torch.library.Library | None:
    """Declare `torchvision::nms` and `torchvision::qnms`; None where torchvision brings its own.

    To be called before the first import of torchvision; a second call does nothing.
    """
    if _compiled_library_loads():
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def _compiled_library_loads() -> bool:
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return False
    for file in Path(found.origin).parent.glob("_C*"):
        try:
            torch.ops.load_library(file)
        except OSError:
            return False
    return hasattr(torch.ops.torchvision, "nms")
