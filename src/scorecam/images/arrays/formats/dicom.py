"""DICOM: a file, or a folder with the files of one series."""

from __future__ import annotations

from pathlib import Path

from scorecam.base.process_state import ignore_warnings
from scorecam.images.arrays.array_file import ArrayFile
from scorecam.images.arrays.formats.dicom_file import begins, read_file
from scorecam.images.arrays.formats.dicom_series import is_series, read_series
from scorecam.images.arrays.formats.format import quiet
from scorecam.images.arrays.keys import refuse_key
from scorecam.io.extras import require

__all__ = ["begins", "is_series", "read"]


def read(path: Path, key: str | None) -> ArrayFile:
    """The picture in a file, as `c h w`, or a volume, as `c d h w`, from a file or a folder.

    Slices and frames are put in order by their positions in the patient.

    Args:
        path: of a file, or of a folder with the files of one series.
        key: the number of a series, in a folder with several.

    Raises:
        MissingExtra: pydicom, or a library that unpacks the pixels, is not installed.
        PhotoError: it cannot be read, is too large, or the slices are not one volume.
    """
    require("pydicom", "medical", "read DICOM files")
    quiet("pydicom")
    with ignore_warnings():  # pydicom warns about unusual values
        if path.is_dir():
            return read_series(path, key)
        refuse_key(path.name, key)
        return read_file(path)
