"""The pixels of one DICOM file, with the scaling that its header states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scorecam.base.wording import one_line
from scorecam.errors import MissingExtra, PhotoError
from scorecam.images.arrays import checks
from scorecam.images.arrays.formats.dicom_fields import field, numbers
from scorecam.images.arrays.scale import formula
from scorecam.io.extras import require

Numbers = npt.NDArray[Any]

_TRANSFORM: Final = "PixelValueTransformationSequence"
_WINDOW: Final = "FrameVOILUTSequence"
_PIXELS: Final = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


@dataclass(frozen=True, eq=False)
class Pixels:
    """The pixels of a file, as `c f h w`.

    Args:
        values: float32.
        levels: the values of black and white, where the file states them.
        remarks: on what was changed; the name of the file has to precede them.
    """

    values: Numbers
    levels: tuple[float, float] | None
    remarks: tuple[str, ...]


def size(data: Any) -> tuple[int, int, int, int]:
    """The announced size: bands, frames, rows and columns."""
    frames = int(data.get("NumberOfFrames") or 1)
    bands = int(data.get("SamplesPerPixel") or 1)
    if data.get("PhotometricInterpretation") == "PALETTE COLOR":
        bands = 3
    return bands, frames, int(data.Rows), int(data.Columns)


def pixels(data: Any, name: str) -> Pixels:
    """The pixels of a data set.

    Raises:
        MissingExtra: no library that unpacks them is installed.
        PhotoError: there are none, or they need too much memory.
    """
    if not any(part in data for part in _PIXELS) or "Rows" not in data:
        raise PhotoError(
            f"{name} holds no picture.",
            likely="It is a report, a plan or a table of contents.",
            do="Give the file of a picture.",
        )
    bands, frames, rows, columns = size(data)
    checks.check_size((bands, frames, rows, columns), int(data.BitsAllocated) / 4, name)
    stored = _unpacked(data, name)
    if stored.dtype.kind == "f":
        checks.check_finite(stored, name)
    if data.get("PhotometricInterpretation") == "PALETTE COLOR":
        processing = require("pydicom.pixels", "medical", "read DICOM files")
        stored, bands = processing.apply_color_lut(stored, data)[..., :3], 3
        white = float(np.iinfo(stored.dtype).max)
        return Pixels(_bands_first(stored, (3, frames, rows, columns)), (0.0, white), ())
    if bands > 1:
        white = 2.0 ** int(data.BitsStored) - 1
        return Pixels(_bands_first(stored, (bands, frames, rows, columns)), (0.0, white), ())
    return _grey(data, stored.reshape(frames, rows, columns), name)


def _bands_first(stored: Numbers, announced: tuple[int, int, int, int]) -> Numbers:
    bands, frames, rows, columns = announced
    whole = stored.reshape(frames, rows, columns, bands).transpose(3, 0, 1, 2)
    return np.ascontiguousarray(whole, dtype=np.float32)


def _grey(data: Any, stored: Numbers, name: str) -> Pixels:
    """Grey pixels in the unit of the file, with larger values brighter."""
    remarks: list[str] = []
    table = data.get("ModalityLUTSequence")
    if table:
        processing = require("pydicom.pixels", "medical", "read DICOM files")
        stored = processing.apply_modality_lut(stored, data)
        remarks.append("is read through its modality table")
    values = stored.astype(np.float32)
    scales = [(1.0, 0.0) if table else _scale(data, frame) for frame in range(len(values))]
    for frame, (slope, intercept) in enumerate(scales):
        if (slope, intercept) != (1, 0):
            values[frame] *= slope
            values[frame] += intercept
    slope, intercept = scales[0]
    scaled = any(scale != (1, 0) for scale in scales)
    if scaled:
        several = len(set(scales)) > 1
        remarks.append(
            f"is scaled{', each frame by its own scale' if several else ''}: "
            f"{formula(slope, intercept)}"
        )
        checks.check_finite(values, name)
    levels = _window(data, remarks)
    low, high = _stored_range(data, stored, table=bool(table))
    if (
        levels is None
        and not (scaled or table)
        and stored.dtype.kind == "u"
        and stored.itemsize < 4
    ):
        levels = float(low), float(high)
    if data.get("PhotometricInterpretation") == "MONOCHROME1":
        mirror = slope * (low + high) + 2 * intercept
        np.subtract(np.float32(mirror), values, out=values)
        levels = None if levels is None else (mirror - levels[1], mirror - levels[0])
        remarks.append(f"is MONOCHROME1, in which low values are white: {mirror:g} − value is read")
    return Pixels(values[np.newaxis], levels, tuple(remarks))


def _scale(data: Any, frame: int) -> tuple[float, float]:
    """Slope and intercept of a frame."""
    slope = numbers(field(data, "RescaleSlope", _TRANSFORM, frame))
    intercept = numbers(field(data, "RescaleIntercept", _TRANSFORM, frame))
    slope = slope or numbers(data.get("DoseGridScaling"))
    return slope[0] if slope else 1.0, intercept[0] if intercept else 0.0


def _window(data: Any, remarks: list[str]) -> tuple[float, float] | None:
    """Black and white of the first window, by the formulas of the standard (PS3.3 C.11.2.1.2)."""
    centres = numbers(field(data, "WindowCenter", _WINDOW))
    widths = numbers(field(data, "WindowWidth", _WINDOW))
    if not centres or not widths:
        if data.get("VOILUTSequence"):
            remarks.append("has a display table (VOI LUT), which is not applied")
        return None
    centre, width = centres[0], widths[0]
    if len(centres) > 1:
        remarks.append(f"has {len(centres)} windows; the first is kept")
    shape = field(data, "VOILUTFunction", _WINDOW) or "LINEAR"
    if shape == "LINEAR":
        centre, width = centre - 0.5, width - 1
    elif shape == "SIGMOID":
        remarks.append("has a sigmoid as its window; the linear part is kept")
    if width <= 0:
        return None
    return centre - width / 2, centre + width / 2


def _stored_range(data: Any, stored: Numbers, *, table: bool) -> tuple[float, float]:
    """The least and largest value that a pixel can have before it is scaled."""
    if table or stored.dtype.kind == "f":
        return float(stored.min()), float(stored.max())
    bits = int(data.BitsStored)
    if int(data.get("PixelRepresentation") or 0):
        return -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    return 0.0, 2.0**bits - 1


def _unpacked(data: Any, name: str) -> Numbers:
    """The stored values.

    Raises:
        MissingExtra: no library that unpacks them is installed.
        PhotoError: those that are installed cannot unpack them.
    """
    syntax = data.file_meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_compressed:
        return data.pixel_array
    what = f"{name} is compressed as {syntax.name}"
    library = "openjpeg" if "2000" in syntax.name else "libjpeg"
    install = f"pip install pylibjpeg pylibjpeg-{library}"
    pydicom_pixels = require("pydicom.pixels", "medical", "read DICOM files")
    try:
        available = pydicom_pixels.get_decoder(syntax).is_available
        stored = data.pixel_array if available else None
    except NotImplementedError as error:
        raise PhotoError(
            f"{what}, which pydicom does not unpack.",
            do="Save it again without compression, for example with dcmdjpeg.",
        ) from error
    except RuntimeError as error:  # with the messages of all decoders
        raise PhotoError(
            f"{what}, which cannot be unpacked: {one_line(str(error), 200)}.",
            likely="It is damaged, or the installed decoders do not cover this kind.",
            do=f"Copy it again, or install another decoder: {install}.",
        ) from error
    if stored is None:
        raise MissingExtra(f"{what}, and no library that unpacks it is installed.", do=install)
    return stored
