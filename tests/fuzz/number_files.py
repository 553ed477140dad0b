"""Valid files of numbers, in every format, for the fuzzer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy


def _stack() -> Any:
    return np.random.default_rng(0).integers(0, 4096, (5, 9, 11)).astype(np.uint16)


def written(suffix: str, *writers: Callable[[Path], Any]) -> Callable[[], list[bytes]]:
    """The contents of the files that these functions write."""

    def contents() -> list[bytes]:
        found: list[bytes] = []
        for write in writers:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, f"valid{suffix}")
                write(file)
                found.append(file.read_bytes())
        return found

    return contents


def _tiff(file: Path, **options: Any) -> None:
    import tifffile

    tifffile.imwrite(file, _stack(), photometric="minisblack", **options)


def _nifti(file: Path) -> None:
    import nibabel

    image = nibabel.Nifti1Image(_stack().astype(np.float32), np.diag([-2.0, 1, 1, 1]))
    nibabel.save(image, file)


def _dicom(file: Path) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    data = FileDataset(str(file), {}, file_meta=meta, preamble=bytes(128))
    data.Rows, data.Columns = 9, 11
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelRepresentation, data.SamplesPerPixel = 0, 1
    data.PhotometricInterpretation = "MONOCHROME1"
    data.RescaleSlope, data.RescaleIntercept = "2", "-1024"
    data.WindowCenter, data.WindowWidth = "40", "400"
    data.PixelData = _stack()[0].tobytes()
    data.save_as(file, enforce_file_format=True)


FORMATS: dict[str, Callable[[], list[bytes]]] = {
    ".npy": written(
        ".npy", lambda file: np.save(file, _stack()), lambda file: np.save(file, np.eye(3))
    ),
    ".npz": written(
        ".npz",
        lambda file: np.savez(file, _stack()),
        lambda file: np.savez_compressed(file, rgb=_stack(), depth=np.eye(4)),
    ),
    ".safetensors": written(
        ".safetensors", lambda file: safetensors.numpy.save_file({"x": _stack()}, file)
    ),
    ".tif": written(
        ".tif",
        _tiff,
        lambda file: _tiff(file, compression="deflate"),
        lambda file: _tiff(file, compression="lzw", planarconfig="separate"),
    ),
    ".nii": written(".nii", _nifti),
    ".nii.gz": written(".nii.gz", _nifti),
    ".dcm": written(".dcm", _dicom),
}
"""Functions that make valid files, by suffix."""


def read(file: Path) -> None:
    """Read a file as `explain` and data sets do."""
    from scorecam.images.arrays.opening import is_array_file, read_array
    from scorecam.images.input_files import read_several

    if is_array_file(file) and read_several(file) is None:
        read_array(file)
