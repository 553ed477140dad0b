"""Files of numbers for tests: a picture with marked corners, and a small DICOM file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

TOP_LEFT, TOP_RIGHT, BOTTOM_LEFT = 200, 100, 50


def marked(height: int = 5, width: int = 7, *, dtype: Any = np.uint16) -> npt.NDArray[Any]:
    """A picture of zeros with three corners that differ, so that no flip goes unnoticed."""
    picture = np.zeros((height, width), dtype)
    picture[0, 0], picture[0, -1], picture[-1, 0] = TOP_LEFT, TOP_RIGHT, BOTTOM_LEFT
    return picture


def corners(picture: Any) -> tuple[float, float, float]:
    """The values at the top left, the top right and the bottom left."""
    return float(picture[0, 0]), float(picture[0, -1]), float(picture[-1, 0])


MARKED = (TOP_LEFT, TOP_RIGHT, BOTTOM_LEFT)


def write_dicom(path: Path, stored: npt.NDArray[Any], **fields: Any) -> Path:
    """A DICOM file of 12 bits without compression; `fields` are set in its header."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.Rows, data.Columns = stored.shape[-2:]
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelRepresentation, data.SamplesPerPixel = 0, 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.SeriesInstanceUID = "1.2.3"
    data.PixelData = np.ascontiguousarray(stored, "<u2").tobytes()
    for name, value in fields.items():
        if name == "TransferSyntaxUID":
            meta.TransferSyntaxUID = value
        else:
            setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def write_slice(path: Path, value: float, position: float, **fields: Any) -> Path:
    """An axial slice with one value in all pixels, at a position along the body."""
    return write_dicom(
        path,
        np.full((4, 6), value),
        **{
            "ImagePositionPatient": [0, 0, position],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [0.5, 0.75],
            **fields,
        },
    )
