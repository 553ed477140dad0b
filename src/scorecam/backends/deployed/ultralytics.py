"""Preprocessing and class names from the metadata that ultralytics writes into a file."""

from __future__ import annotations

import re
from collections.abc import Mapping

from scorecam.backends.deployed.literals import sequence_of
from scorecam.backends.deployed.stated import NetworkInput, Stated, fitted, known_size, text_of
from scorecam.base.wording import quoted
from scorecam.images.preprocess import Fit, Preprocess

_FITS: Mapping[str, Fit] = {
    "detect": "letterbox",
    "segment": "letterbox",
    "pose": "letterbox",
    "obb": "letterbox",
    "classify": "resize_crop",
}
"""How the photos of each task are brought to the size of the input."""


def preprocess_of(metadata: Mapping[str, str], given: NetworkInput) -> Stated | None:
    """The preprocessing; None if ultralytics did not write the metadata.

    Raises:
        ValueError: it cannot be used.
    """
    if "task" not in metadata or not ("stride" in metadata or "imgsz" in metadata):
        return None
    task = text_of(metadata["task"])
    if task not in _FITS:
        raise ValueError(f"the task {quoted(task)} is not known")
    # ultralytics stretches photos for RT-DETR, which has the same task as YOLO.
    stretched = "rtdetr" in re.sub(r"\W", "", text_of(metadata.get("description", ""))).lower()
    channels = text_of(metadata.get("channels", "3"))
    if channels not in ("1", "3"):
        raise ValueError(f"the network takes {quoted(channels)} channels")
    own = _size(metadata)
    preprocess = Preprocess(
        size=own or known_size(None, given),
        fit="squash" if stretched else _FITS[task],
        fraction=1.0,
        mean=(0.0,) * int(channels),
        std=(1.0,) * int(channels),
        interpolation="bilinear" if task == "classify" else "linear",  # Pillow or OpenCV
    )
    return fitted(preprocess, given)


def names_of(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """The class names in `names`: a dict or a list as a Python literal, or JSON.

    Raises:
        ValueError: they cannot be read.
    """
    text = text_of(metadata.get("names", ""))
    return sequence_of(text) if text else None


def _size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """(height, width) of `imgsz`, a number or a list of two."""
    text = text_of(metadata.get("imgsz", ""))
    if not text:
        return None
    sides = re.fullmatch(r"[\[(]?\s*(\d{1,6})\s*(?:,\s*(\d{1,6})\s*)?[\])]?", text)
    if sides is None:
        raise ValueError(f"imgsz cannot be {quoted(text)}")
    return int(sides[1]), int(sides[2] or sides[1])
