"""The record in a bank's file: everything but the tensors, as plain values.

A file is untrusted. The type and the range of every entry are checked when it is read.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast, get_args

import torch

from scorecam.base.wording import constructor
from scorecam.cam import VARIANTS, Head, Masking

SCHEMA = 2

MOST_PIXELS = 2**26
"""The most pixels of the image of a bank from a file: 8192 × 8192, or 512 × 512 × 256."""

LONGEST_AXIS = 2**24
"""The most pixels, or samples of a signal, along one axis."""

MOST_AXES = 8
"""The most axes of the image."""

LONGEST_TEXT = 10_000
"""The most characters of a string in the record."""

MOST_REMARKS = 1000
"""The most remarks in the provenance."""

MOST_COLOURS = 65_536
"""The most numbers in a masking's fill, one per colour."""

LARGEST_NUMBERS = {
    "forward_passes": 10**15,
    "batch_size": 10**12,
    "seconds": 10**12,
    "unrepeated": 1,
    "mixed": 1,
    "column": 2**31,
}
"""The largest plausible values in the provenance. The smallest is 0."""


@functools.cache
def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


@dataclass(frozen=True)
class Provenance:
    """How the scores of a bank were computed.

    Args:
        model: the model's name.
        device: of the model.
        precision: the number format of the masked passes.
        forward_passes: images that the model scored for this bank: the image twice, the fill, every
            masked image, and the passes that detect the head. Finding the default layer is not
            counted.
        batch_size: images per pass, after any halving.
        seconds: wall time. The images of a batch share it equally.
        budget: which masks were scored.
        runtime: what scored the masked images; empty in banks of versions without other runtimes.
        seed: of the samples that estimate the error.
        remarks: how the photo was read differently from how it is stored, and how the runtime, the
            precision and the head were chosen.
        unrepeated: the difference of two scores of the same image, relative to the range of all
            scores, in [0, 1]; 0 in banks of versions that scored it only once.
        mixed: the change of the image's scores in a batch with other images, relative to the same
            range.
        auto: the variant that "auto" means for this bank; `official` in banks of versions without
            "auto".
        backend: the libraries that ran the model, with their versions; empty in older banks.
        task: what was explained, if not the classes, such as "detect"; empty for the classes.
        unit: of the scores, such as "mm"; empty for none.
        column: the column that the task was used for; -1 for the largest.
        values: what is shown for each column in place of its score; empty to show the score.
        scorecam, torch, python: their versions. torch makes the masks of every model.
    """

    model: str
    device: str
    precision: str
    forward_passes: int
    batch_size: int
    seconds: float
    budget: str = "exact"
    runtime: str = ""
    seed: int = 0
    remarks: tuple[str, ...] = ()
    unrepeated: float = 0.0
    mixed: float = 0.0
    auto: str = "official"
    backend: str = ""
    task: str = ""
    unit: str = ""
    column: int = -1
    values: tuple[str, ...] = ()
    scorecam: str = field(default_factory=lambda: _installed("scorecam"))
    torch: str = field(default_factory=lambda: str(torch.__version__))
    python: str = field(default_factory=platform.python_version)

    __repr__ = constructor

    @property
    def libraries(self) -> str:
        """Torch and the backend's libraries, with their versions."""
        own = f"torch {self.torch}"
        return own if self.backend in ("", own) else f"{own}, {self.backend}"


@dataclass(frozen=True)
class Record:
    """The parts of a `ScoreBank` that are not tensors."""

    size: tuple[int, ...]
    masking: Masking
    head: Head
    layer: str
    provenance: Provenance

    def to_dict(self) -> dict[str, Any]:
        """The record as plain values, for a file."""
        return {"schema": SCHEMA, **dataclasses.asdict(self)}

    @staticmethod
    def from_dict(value: Any) -> Record:
        """The record of a file's plain values.

        Raises:
            ValueError: they are not a record.
        """
        record = _mapping("record", value)
        if type(record.get("schema")) is not int or record["schema"] != SCHEMA:
            raise ValueError("its record has an unknown schema")
        for key in ("size", "masking", "head", "layer", "provenance"):
            if key not in record:
                raise ValueError(f"its record lacks the {key}")
        return Record(
            size=_size(record["size"]),
            masking=_masking(_mapping("masking", record["masking"])),
            head=_head(record["head"]),
            layer=_text("layer", record["layer"]),
            provenance=_provenance(_mapping("provenance", record["provenance"])),
        )


def _size(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_AXES:
        raise ValueError(f"its size is not a list of 1 to {MOST_AXES} numbers")
    size = tuple(_whole("size", pixels, 1, LONGEST_AXIS) for pixels in value)
    if math.prod(size) > MOST_PIXELS:
        raise ValueError(f"its image has more than {MOST_PIXELS:,} pixels")
    return size


def _masking(entries: Mapping[str, Any]) -> Masking:
    known = {entry.name for entry in dataclasses.fields(Masking)}
    if not {"fill"} <= entries.keys() <= known:
        raise ValueError("its masking has missing or unknown entries")
    fill = entries["fill"]
    if isinstance(fill, list):
        if len(fill) > MOST_COLOURS:
            raise ValueError("its fill has more numbers than an image has colours")
        fill = tuple(_real("fill", number) for number in fill)
    else:
        fill = _real("fill", fill)
    align_corners = entries.get("align_corners", False)
    if not isinstance(align_corners, bool):
        raise ValueError("its align_corners is not true or false")  # noqa: TRY004
    return Masking(
        fill=fill,
        align_corners=align_corners,
        scale=cast(Any, _text("scale", entries.get("scale", "after"))),
        epsilon=_real("epsilon", entries.get("epsilon", 0.0), 0),
    )


def _head(value: Any) -> Head:
    for head in get_args(Head):
        if value == head:
            return head
    raise ValueError("its head is unknown")


def _provenance(entries: Mapping[str, Any]) -> Provenance:
    types = {entry.name: str(entry.type) for entry in dataclasses.fields(Provenance)}
    if unknown := entries.keys() - types.keys():
        raise ValueError(f"its provenance has the unknown entry {min(unknown)[:40]!r}")
    if "remarks" not in entries:
        raise ValueError("its provenance lacks the remarks")
    values = {name: _entry(name, types[name], value) for name, value in entries.items()}
    if values.get("auto", "official") not in VARIANTS:
        raise ValueError("its variant is unknown")
    return Provenance(**values)


def _entry(name: str, kind: str, value: Any) -> Any:
    """One entry of the provenance, with its declared type."""
    if kind == "str":
        return _text(name, value)
    if kind == "float":
        return _real(name, value, 0, LARGEST_NUMBERS[name])
    if kind == "int":
        least = {"seed": -(2**64), "column": -1}.get(name, 0)
        return _whole(name, value, least, 2**64 if name == "seed" else LARGEST_NUMBERS[name])
    if not isinstance(value, list) or len(value) > MOST_REMARKS:
        raise ValueError(f"its {name} are not a list of at most {MOST_REMARKS:,} strings")
    return tuple(_text(name, text) for text in value)


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"its {name} is not a JSON object")  # noqa: TRY004
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise ValueError(f"its {name} is not a string of at most {LONGEST_TEXT:,} characters")
    return value


def _whole(name: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"its {name} is not a whole number from {least:,} to {most:,}")
    return value


def _real(name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> float:
    """A finite number in a range."""
    if type(value) not in (int, float) or not least <= value <= most:
        raise ValueError(f"its {name} is not a plausible number")
    number = float(value)  # an integer may be too large
    if not math.isfinite(number):
        raise ValueError(f"its {name} is not a finite number")
    return number
