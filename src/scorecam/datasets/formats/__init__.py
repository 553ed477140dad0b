"""The data set formats: a file each, found by its name.

Importing this package imports nothing else: `scorecam --help` must not wait for the formats.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from scorecam.datasets.formats.format import Format

Option = Literal["annotations", "split"]

FORMATS: dict[str, tuple[Option, ...]] = {
    "list": (),
    "coco": ("annotations", "split"),
    "voc": ("split",),
    "imagenet": ("annotations",),
    "folder": (),
}
"""The options that each format takes, in the order in which formats are tried on a path.

To add a format, add its name here, and the file `<name>.py` with its `FORMAT`.
"""


def find_format(name: str) -> Format:
    """The format of this name, one of `FORMATS`."""
    return importlib.import_module(f"{__name__}.{name}").FORMAT
