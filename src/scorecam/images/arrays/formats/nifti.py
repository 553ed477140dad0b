"""A volume in a NIfTI file, also one that is compressed with gzip.

nibabel reads the header. The values are read here, because their number has to be checked before
anything is unpacked.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np
import numpy.typing as npt

from scorecam.base.process_state import ignore_warnings
from scorecam.base.wording import one_line, quoted
from scorecam.errors import PhotoError
from scorecam.images.arrays import checks
from scorecam.images.arrays.array_file import ArrayFile
from scorecam.images.arrays.formats.format import quiet
from scorecam.images.arrays.keys import refuse_key
from scorecam.images.arrays.patient import directions
from scorecam.images.arrays.scale import formula
from scorecam.images.arrays.streams import filled, skip
from scorecam.images.file_types import DAMAGED
from scorecam.images.memory import HEADER, memory_limit
from scorecam.io.extras import require
from scorecam.io.reading import Kind, open_file

_KIND: Final = Kind("a NIfTI file", checks.LARGEST, PhotoError)

_SIZES: Final = {348: "Nifti1Header", 540: "Nifti2Header"}
"""nibabel's class of header, by the size that the first four bytes state."""

_GZIP: Final = b"\x1f\x8b"
_MILLIMETRES: Final = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


@dataclass(frozen=True)
class _Space:
    """Where the voxels are.

    Args:
        affine: from voxels to millimetres; None if the header has none.
        spacing: in millimetres; None if the header has none.
        orientation: a sentence; empty without an affine.
        remarks: sentences on what the header lacks.
    """

    affine: npt.NDArray[Any] | None
    spacing: tuple[float, ...] | None
    orientation: str = ""
    remarks: tuple[str, ...] = ()


def begins(head: bytes) -> bool:
    """Whether a file begins as a NIfTI file that is not compressed."""
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")


def read(path: Path, key: str | None) -> ArrayFile:
    """A volume, as `1 i j k` in its stored order of voxels.

    Args:
        path: of the file.
        key: which volume of a file with several: `t=0` for the first.

    Raises:
        MissingExtra: nibabel is not installed.
        PhotoError: the file cannot be read, is too large, or holds several volumes and there is no
            key.
    """
    nibabel = require("nibabel", "medical", "read NIfTI files")
    quiet("nibabel.global")
    with open_file(path, _KIND) as file, ignore_warnings():
        packed = file.read(2) == _GZIP
        file.seek(0)
        stream = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if packed else file
        try:
            header = _header(stream, nibabel, path.name)
            return _read(stream, header, path.name, key)
        except PhotoError:
            raise
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise _not_read(path.name, f"it cannot be unpacked: {error}") from error
        except Exception as error:  # nibabel raises many kinds for damaged headers
            raise _not_read(path.name, one_line(str(error), 200)) from error


def _header(stream: BinaryIO, nibabel: Any, name: str) -> Any:
    """The header; the stream is then at its end."""
    start = stream.read(4)
    sizes = (int.from_bytes(start, "little"), int.from_bytes(start, "big"))
    size = next((size for size in sizes if size in _SIZES), None)
    if size is None:
        raise _not_read(name, "it does not begin with the header of a NIfTI file")
    content = start + stream.read(size - 4)
    if len(content) < size or not (begins(content) or size == 540):
        raise _not_read(name, "its header is cut short, or it is an Analyze file")
    if b"ni1\0" in content[344:348] or b"ni2\0" in content[4:8]:
        raise PhotoError(
            f"{name} is the header of a NIfTI pair; its values are in another file.",
            do="Save both as one .nii file, for example with nibabel.save.",
        )
    return getattr(nibabel, _SIZES[size]).from_fileobj(io.BytesIO(content), check=False)


def _read(stream: BinaryIO, header: Any, name: str, key: str | None) -> ArrayFile:
    shape = tuple(int(side) for side in header.get_data_shape())
    dtype = header.get_data_dtype()
    checks.check_kind(dtype, name)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    place, label = _volume(shape, name, key)
    volume = shape[:3]
    checks.check_size(volume, dtype.itemsize, label)
    length = math.prod(volume) * dtype.itemsize
    _skip_to(stream, header, place * length, name)
    array = np.frombuffer(filled(stream, length, label), dtype).reshape(volume, order="F")
    stream.read(1)  # at the end of a compressed file, this compares its checksum
    values, rounded = checks.as_float32(array[np.newaxis], label)
    slope, intercept = header.get_slope_inter()
    remarks = rounded
    if slope is not None and (slope, intercept) != (1, 0):
        values.mul_(slope).add_(intercept)
        remarks += (f"{label} is scaled: {formula(slope, intercept)}.",)
        checks.check_finite(values.numpy(), label)
    space = _space(header, len(volume), label)
    return ArrayFile(
        values,
        label,
        levels=_levels(header),
        spacing=space.spacing,
        affine=space.affine,
        orientation=space.orientation,
        remarks=remarks + space.remarks,
    )


def _volume(shape: tuple[int, ...], name: str, key: str | None) -> tuple[int, str]:
    """Which volume to read, counted from 0, and the name of the result."""
    if len(shape) <= 3:
        refuse_key(name, key)
        return 0, name
    if len(shape) > 4:
        raise PhotoError(
            f"{name} has {len(shape)} axes: {' × '.join(map(str, shape))}.",
            likely="It holds vectors or matrices at each voxel.",
            do="Choose one volume with nibabel, and save it.",
        )
    last = shape[3] - 1
    match = re.fullmatch(r"t=(\d{1,9})", key or "")
    if match and int(match[1]) <= last:
        return int(match[1]), f"{name}:{key}"
    what = f"{name} holds {last + 1:,} volumes"
    raise PhotoError(
        f"{what}." if key is None else f"{what}, and {quoted(key)} is not one of them.",
        likely="It is a series in time, or has several measurements of the same place.",
        do=f"Choose one, from {name}:t=0 to {name}:t={last}.",
    )


def _skip_to(stream: BinaryIO, header: Any, further: int, name: str) -> None:
    """Go to the first value of a volume. Compressed bytes before it have to be unpacked."""
    offset = int(header.get_data_offset()) - stream.tell()
    if not 0 <= offset <= HEADER:
        raise _not_read(name, f"its values would start {offset:,} bytes after its header")
    if not isinstance(stream, gzip.GzipFile):
        stream.seek(offset + further, io.SEEK_CUR)
        return
    if further > 8 * memory_limit():
        raise PhotoError(
            f"{name} has {further:,} bytes before the chosen volume.",
            likely="It is a long series, or designed to take much time.",
            do="Unpack it first, with gunzip.",
        )
    skip(stream, offset + further)


def _levels(header: Any) -> tuple[float, float] | None:
    low, high = float(header["cal_min"]), float(header["cal_max"])
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None


def _space(header: Any, axes: int, name: str) -> _Space:
    scale = _MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    affine = None
    if int(header["sform_code"]) > 0:
        affine = np.array(header.get_sform(), np.float64)
    elif int(header["qform_code"]) > 0:
        affine = np.array(header.get_qform(), np.float64)
    if affine is None or not _is_regular(affine):
        zooms = tuple(float(zoom) * scale for zoom in header.get_zooms()[:axes])
        known = all(math.isfinite(zoom) and zoom > 0 for zoom in zooms)
        lacks = "has no affine" if affine is None else "has an affine that cannot be inverted"
        remark = f"{name} {lacks}, so it is not known where left, right, front and back are."
        return _Space(None, zooms if known else None, remarks=(remark,))
    affine[:3] *= scale
    spacing = tuple(float(np.linalg.norm(affine[:3, axis])) for axis in range(axes))
    names = ("i", "j", "k")[:axes]
    vectors = {letter: affine[:3, axis] for axis, letter in enumerate(names)}
    return _Space(affine, spacing, directions(vectors))


def _is_regular(affine: npt.NDArray[Any]) -> bool:
    if not np.isfinite(affine).all():
        return False
    return abs(float(np.linalg.det(affine[:3, :3]))) > 1e-12


def _not_read(name: str, problem: str) -> PhotoError:
    return PhotoError(
        f"{name} is not a NIfTI file that can be read: {problem}.",
        likely=DAMAGED[0],
        do="Copy it again, or save it again with nibabel.save.",
    )
