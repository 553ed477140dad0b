"""Runtimes and precisions by name. Importing this module does not import torch."""

from __future__ import annotations

from typing import Final, Literal, get_args

Runtime = Literal["auto", "eager", "compile", "openvino"]
"""What can run a model. "eager" is the model itself; "auto" chooses.

To add a runtime, add its name here, and the file `backends/runtimes/<name>.py` with its adapter.
"""

Precision = Literal["float32", "bfloat16", "float16", "auto"]
"""The number format of masked passes; "auto" chooses."""

RUNTIMES: Final[tuple[str, ...]] = get_args(Runtime)
PRECISIONS: Final[tuple[str, ...]] = get_args(Precision)
