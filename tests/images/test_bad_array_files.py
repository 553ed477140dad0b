"""Files of numbers that are damaged, hostile, or cannot be used: each error says what to do."""

from __future__ import annotations

import gzip
import io
import os
import struct
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from array_files import marked, write_dicom, write_slice
from hostile_images import deflated, tiff, uncompressed
from scorecam.errors import MissingExtra, PhotoError, ScorecamError, SettingError
from scorecam.images.arrays.array_file import ArrayFile, fitted
from scorecam.images.arrays.bands import select_bands
from scorecam.images.arrays.opening import is_array_file, read_array
from scorecam.images.arrays.window import windowed

BIG = 100_000
"""The side of a square with 40 GB of 4-byte numbers."""


def npy_header(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    stream = io.BytesIO()
    fields = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, fields)
    return stream.getvalue()


def npz(path: Path, content: bytes) -> None:
    import zipfile

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)


def nifti(shape: tuple[int, ...], data: bytes = b"", **fields: Any) -> bytes:
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape(shape)
    header["magic"], header["vox_offset"] = b"n+1", 352
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + bytes(4) + data


# ── more than there is memory ────────────────────────────────────────────────────────────────


def big_npy(folder: Path) -> Path:
    (folder / "a.npy").write_bytes(npy_header((BIG, BIG)))
    return folder / "a.npy"


def big_npz(folder: Path) -> Path:
    npz(folder / "a.npz", npy_header((BIG, BIG)))
    return folder / "a.npz"


def big_nifti(folder: Path) -> Path:
    (folder / "a.nii").write_bytes(nifti((32000, 32000, 10)))
    return folder / "a.nii"


def big_packed_nifti(folder: Path) -> Path:
    (folder / "a.nii.gz").write_bytes(gzip.compress(nifti((32000, 32000, 10))))
    return folder / "a.nii.gz"


def big_tiff(folder: Path) -> Path:
    (folder / "a.tif").write_bytes(tiff(uncompressed(BIG, BIG, t279=(4, 1, 99))))
    return folder / "a.tif"


def big_dicom(folder: Path) -> Path:
    return write_dicom(folder / "a.dcm", marked(), Rows=40000, Columns=40000, NumberOfFrames=10)


def big_series(folder: Path) -> Path:
    for position in range(3):
        write_slice(folder / f"{position}", 0, position, Rows=32000, Columns=32000)
    return folder


@pytest.mark.needs("medical", "tiff")
@pytest.mark.parametrize(
    "write", [big_npy, big_npz, big_nifti, big_packed_nifti, big_tiff, big_dicom, big_series]
)
def test_announced_gigabytes_are_refused_before_any_is_allocated(
    write: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = write(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(PhotoError, match=r"could take [\d.]+ GiB of memory.*SCORECAM_PHOTO_M"):
            read_array(path)
        assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
    finally:
        tracemalloc.stop()


def test_the_limit_on_memory_is_that_of_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1000, 1000)))
    assert read_array(tmp_path / "a.npy").values.shape == (1000, 1000)
    monkeypatch.setenv("SCORECAM_PHOTO_MEMORY", "10MiB")
    with pytest.raises(PhotoError, match=r"12\.4 MiB of memory, and the limit is 10\.0 MiB"):
        read_array(tmp_path / "a.npy")
    monkeypatch.setenv("SCORECAM_PHOTO_MEMORY", "much")
    with pytest.raises(SettingError, match="not an amount of memory"):
        read_array(tmp_path / "a.npy")


def test_an_endless_header_in_an_archive_is_not_unpacked(tmp_path: Path) -> None:
    content = b"\x93NUMPY\2\0" + struct.pack("<I", 2**31) + b" " * (200 * 2**20)
    npz(tmp_path / "a.npz", content)
    tracemalloc.start()
    try:
        with pytest.raises(PhotoError, match="does not begin with the header"):
            read_array(tmp_path / "a.npz")
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


def test_an_archive_with_an_endless_directory_is_refused(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for number in range(200):
            archive.writestr(zipfile.ZipInfo(f"{number:030000}.npy"), b"")
    with pytest.raises(PhotoError, match="a table of contents that is too large"):
        read_array(tmp_path / "a.npz")


@pytest.mark.needs("tiff")
def test_a_strip_that_unpacks_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCORECAM_PHOTO_MEMORY", "64MiB")
    content = deflated(4000, 10_000, bits=8, kind=1)
    small = content.replace(
        struct.pack("<HHII", 257, 4, 1, 10_000), struct.pack("<HHII", 257, 4, 1, 9)
    )
    assert small != content
    (tmp_path / "a.tif").write_bytes(small)
    with pytest.raises(PhotoError, match="a strip or tile that unpacks to more than 16,777,216"):
        read_array(tmp_path / "a.tif")


@pytest.mark.needs("medical")
def test_a_late_volume_of_a_packed_series_takes_no_hour(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti((300, 300, 300, 5000))))
    with pytest.raises(PhotoError, match=r"bytes before the chosen volume.*gunzip"):
        read_array(f"{path}:t=4999")


@pytest.mark.needs("medical")
def test_a_file_compressed_as_a_whole_is_refused(tmp_path: Path) -> None:
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    path = write_dicom(
        tmp_path / "a.dcm", marked(), TransferSyntaxUID=DeflatedExplicitVRLittleEndian
    )
    with pytest.raises(PhotoError, match=r"deflated transfer syntax.*dcmconv"):
        read_array(path)


# ── values that are not numbers ──────────────────────────────────────────────────────────────


class Trap:
    """Unpickling it would end the process."""

    def __reduce__(self) -> Any:
        return os._exit, (3,)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([Trap()], dtype=object), "Python objects, not numbers.*never unpickled"),
        (np.zeros(3, [("r", "u1"), ("g", "u1")]), r"values of type \[\('r'"),
        (np.array(["a"]), "values of type <U1, not numbers"),
        (np.array(["2026-01-01"], "M8[D]"), "values of type datetime64"),
        (np.zeros(3, complex), r"complex numbers.*np\.abs"),
        (np.zeros((3, 0, 4)), "no values: its size is 3 × 0 × 4"),
        (np.zeros(0), "no values: its size is 0"),
        (np.array([np.nan, 1, np.nan, np.inf]), "2 NaN and 1 infinite of 4 values.*nan_to_num"),
        (np.array([1, np.inf, -np.inf], "f2"), "has 2 infinite of 3 values"),
        (np.array([1e300]), "too large for float32"),
    ],
)
@pytest.mark.parametrize("save", [np.save, np.savez])
def test_values_that_no_network_takes_are_refused(
    save: Any, array: Any, words: str, tmp_path: Path
) -> None:
    path = tmp_path / ("a.npy" if save is np.save else "a.npz")
    save(path, array)
    with pytest.raises(PhotoError, match=words):
        read_array(path)


@pytest.mark.needs("tiff", "medical")
def test_nan_is_counted_in_pictures_and_volumes(tmp_path: Path) -> None:
    import nibabel
    import tifffile

    array = np.zeros((4, 5, 6), np.float32)
    array[0, 0, :3] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii.gz")
    for name in ("a.tif", "a.nii.gz"):
        with pytest.raises(PhotoError, match=rf"{name} has 3 NaN of 120 values"):
            read_array(tmp_path / name)


@pytest.mark.needs("medical")
def test_a_scale_that_leaves_no_numbers_is_refused(tmp_path: Path) -> None:
    data = np.ones(8, np.float32).tobytes()
    (tmp_path / "a.nii").write_bytes(nifti((2, 2, 2), data, scl_slope=3e38, scl_inter=3e38))
    with pytest.raises(PhotoError, match="8 infinite of 8 values"):
        read_array(tmp_path / "a.nii")


# ── damaged files ────────────────────────────────────────────────────────────────────────────


def samples(folder: Path) -> list[Path]:
    """A small file of every format."""
    import nibabel
    import tifffile

    array = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    np.save(folder / "a.npy", array)
    np.savez_compressed(folder / "a.npz", a=array)
    safetensors.torch.save_file({"a": torch.arange(60.0)}, folder / "a.safetensors")
    for name, options in {
        "a": {},
        "packed": {"compression": 8},
        "tiled": {"tile": (16, 16)},
    }.items():
        tifffile.imwrite(folder / f"{name}.tif", array, photometric="minisblack", **options)
    nibabel.save(nibabel.Nifti1Image(array.astype(np.int16), np.eye(4)), folder / "a.nii")
    nibabel.save(nibabel.Nifti1Image(array.astype(np.int16), np.eye(4)), folder / "a.nii.gz")
    write_dicom(folder / "a.dcm", array[0], WindowCenter=3, WindowWidth=9)
    return sorted(folder.iterdir())


@pytest.mark.needs("tiff", "medical")
def test_a_file_that_ends_early_is_never_half_read(tmp_path: Path) -> None:
    paths = samples(tmp_path)
    assert len(paths) == 9
    for path in paths:
        content, whole = path.read_bytes(), read_array(path).values
        read = 0
        for length in range(1, len(content), 3 if len(content) < 500 else 29):
            path.write_bytes(content[:length])
            try:
                values = read_array(path).values
            except PhotoError:
                continue
            read += 1
            assert torch.equal(values, whole), (path, length)
        assert read < 3, path  # a TIFF file ends with its resolution


@pytest.mark.needs("tiff", "medical")
def test_damaged_bytes_raise_only_our_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCORECAM_PHOTO_MEMORY", "32MiB")
    rng = np.random.default_rng(0)
    refused = 0
    for path in samples(tmp_path):
        content = path.read_bytes()
        for _ in range(80):
            damaged = bytearray(content)
            for place in rng.integers(0, len(content), 4):
                damaged[place] = rng.integers(0, 256)
            path.write_bytes(damaged)
            try:
                assert torch.isfinite(read_array(path).values).all()
            except ScorecamError:
                refused += 1
    assert refused > 100


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    for name in ("a.npy", "a.npz", "a.nii.gz", "a.dcm", "a.tif"):
        (tmp_path / name).touch()
        with pytest.raises(PhotoError, match=f"{name} is empty"):
            read_array(tmp_path / name)


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npy")
    assert not is_array_file(tmp_path / "a.npy")
    with pytest.raises(PhotoError, match="not a regular file"):
        read_array(tmp_path / "a.npy")


def test_other_files_are_named_with_what_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Nothing.", "utf-8")
    with pytest.raises(PhotoError, match=r"a\.txt is not a file of numbers.*NumPy array, .*DICOM"):
        read_array(tmp_path / "a.txt")
    with pytest.raises(PhotoError, match="is a folder without DICOM files"):
        read_array(tmp_path)
    with pytest.raises(PhotoError, match="There is no file"):
        read_array(tmp_path / "b.npy")


def test_a_text_with_the_suffix_of_an_array_is_refused(tmp_path: Path) -> None:
    for name in ("a.npy", "a.npz", "a.safetensors"):
        (tmp_path / name).write_text("1 2 3\n" * 50, "utf-8")
        assert is_array_file(tmp_path / name)
        with pytest.raises(PhotoError, match=rf"{name} (is not|cannot be read).*[Ss]ave it again"):
            read_array(tmp_path / name)


# ── keys ─────────────────────────────────────────────────────────────────────────────────────


def test_a_file_of_several_arrays_lists_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", left=np.zeros(2), right=np.zeros(2))
    with pytest.raises(PhotoError, match=r"2 arrays: left, right\..*for example a\.npz:left"):
        read_array(tmp_path / "a.npz")
    with pytest.raises(PhotoError, match=r"no array 'lefd'.*Did you mean 'left'\?"):
        read_array(f"{tmp_path}/a.npz:lefd")
    with pytest.raises(PhotoError, match="Give one of them"):
        read_array(f"{tmp_path}/a.npz:left", key="right")


def test_a_key_for_a_single_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(2))
    with pytest.raises(PhotoError, match=r"one array without a name.*Leave the key out"):
        read_array(f"{tmp_path}/a.npy:left")


def test_weights_and_banks_are_not_inputs(tmp_path: Path) -> None:
    tensors = {f"layer{number}.weight": torch.zeros(2) for number in range(20)}
    safetensors.torch.save_file(tensors, tmp_path / "w.safetensors")
    safetensors.torch.save_file(
        {"a": torch.zeros(2)}, tmp_path / "b.safetensors", {"scorecam": "{}"}
    )
    with pytest.raises(PhotoError, match=r"20 arrays.*and 12 more.*give those as --weights"):
        read_array(tmp_path / "w.safetensors")
    with pytest.raises(PhotoError, match=r"is a score bank.*scorecam show"):
        read_array(tmp_path / "b.safetensors")


@pytest.mark.needs("medical")
@pytest.mark.parametrize("key", ["", ":t=3", ":t=-1", ":3"])
def test_several_volumes_need_a_key_that_exists(key: str, tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(nifti((2, 2, 2, 3), bytes(96)))
    with pytest.raises(PhotoError, match=r"holds 3 volumes.*from a\.nii:t=0 to a\.nii:t=2"):
        read_array(f"{tmp_path}/a.nii{key}")


# ── options ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("bands", "words"),
    [
        ([0], r"bands=0 is less than 1"),
        ([-1], r"bands=-1 is less than 1"),
        ([1.5], r"bands=1\.5 is not a whole number"),
        ([True], "bands=True is not a whole number"),
        (["1"], "bands='1' is not a whole number"),
        ([], "bands is empty"),
        (2, "bands=2 is not a list.*first band is 1"),
        ("12", "bands='12' is not a list"),
        ([1, 6], r"a\.tif has no band 6: it has 5 bands\. .*not 0.*from 1 to 5"),
    ],
)
def test_bands_that_do_not_exist_are_refused(bands: Any, words: str) -> None:
    with pytest.raises((SettingError, PhotoError), match=words):
        select_bands(ArrayFile(torch.zeros(5, 2, 2), "a.tif"), bands)


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ((3, 3), "must be lower than the second. Both are the same"),
        ((5, 1), "must be lower than the second. They are in the wrong order"),
        ((float("nan"), 1), "window=nan"),
        ((0, float("inf")), "window=inf"),
        (3, "window=3 is not two numbers"),
        ("04", "is not two numbers"),
        ((1, 2, 3), "is not two numbers"),
        (("a", 1), "window='a' is not a number"),
        ((True, 2), "window=True is not a number"),
    ],
)
def test_windows_that_are_not_two_numbers_in_order_are_refused(window: Any, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        windowed(ArrayFile(torch.zeros(1, 2, 2), "a.tif"), window)


def test_without_levels_a_window_is_needed() -> None:
    file = ArrayFile(torch.tensor([[0.0, 3000]]), "a.tif")
    with pytest.raises(PhotoError, match=r"run from 0 to 3000.*window=\(0, 3000\)"):
        windowed(file)


@pytest.mark.parametrize("channels", [True, False])
def test_an_array_with_other_axes_does_not_fit(channels: bool) -> None:
    file = ArrayFile(torch.zeros(8, 3, 5, 6), "a.npy", has_channels=channels)
    with pytest.raises(PhotoError, match=r"8 × 3 × 5 × 6 values.*4 axes; the network takes 3"):
        fitted(file, 3)


# ── libraries that are missing ───────────────────────────────────────────────────────────────


@pytest.mark.needs("tiff", "medical")
@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("a.tif", "tifffile", "tiff"),
        ("a.nii.gz", "nibabel", "medical"),
        ("a.dcm", "pydicom", "medical"),
    ],
)
def test_a_missing_library_is_named_with_its_pip_line(
    name: str, module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        MissingExtra, match=rf"{module} is not ins.*pip install 'scorecam\[{extra}\]'"
    ):
        read_array(tmp_path / name)
    assert is_array_file(tmp_path / name)


@pytest.mark.needs("tiff")
@pytest.mark.parametrize("compression", [5, 34925, 32773, 50000])
def test_a_compression_that_needs_imagecodecs_says_so(
    compression: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scorecam.images.arrays.formats import tiff as reader

    monkeypatch.setattr(reader, "_has_imagecodecs", lambda: False)
    (tmp_path / "a.tif").write_bytes(
        tiff(uncompressed(4, 4, t259=(3, 1, compression)), zlib.compress(bytes(16)))
    )
    with pytest.raises(MissingExtra, match=r"scorecam\[tiff\]"):
        read_array(tmp_path / "a.tif")


@pytest.mark.needs("tiff")
def test_packed_twelve_bits_are_read_with_imagecodecs(tmp_path: Path) -> None:
    packed = tiff(uncompressed(4, 4, t258=(3, 1, 12), t279=(4, 1, 24)), bytes(24))
    (tmp_path / "a.tif").write_bytes(packed)
    assert read_array(tmp_path / "a.tif").levels == (0, 4095)


@pytest.mark.needs("medical")
def test_a_compressed_picture_names_the_decoder_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pydicom.pixels.common import CoderBase
    from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1

    monkeypatch.setattr(CoderBase, "is_available", property(lambda _: False))
    for syntax, library in ((JPEGLosslessSV1, "libjpeg"), (JPEG2000Lossless, "openjpeg")):
        path = write_encapsulated(tmp_path / "a.dcm", syntax)
        with pytest.raises(
            MissingExtra, match=rf"compressed as JPEG.*pylibjpeg pylibjpeg-{library}"
        ):
            read_array(path)


@pytest.mark.needs("medical")
def test_damaged_compressed_pixels_are_refused(tmp_path: Path) -> None:
    from pydicom.uid import JPEGBaseline8Bit

    path = write_encapsulated(tmp_path / "a.dcm", JPEGBaseline8Bit)
    with pytest.raises(PhotoError, match=r"cannot be unpacked.*another decoder: pip install"):
        read_array(path)


def write_encapsulated(path: Path, syntax: Any) -> Path:
    from pydicom.encaps import encapsulate

    fields = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    pixels = encapsulate([b"\xff\xd8 not a picture \xff\xd9"])
    return write_dicom(path, marked(), TransferSyntaxUID=syntax, PixelData=pixels, **fields)


# ── TIFF, NIfTI and DICOM ────────────────────────────────────────────────────────────────────


@pytest.mark.needs("tiff")
def test_axes_without_a_rule_are_listed(tmp_path: Path) -> None:
    import tifffile

    array = np.zeros((2, 3, 4, 5), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(PhotoError, match=r"axes T \(time\) 2, Z 3, Y 4, X 5.*numpy\.save"):
        read_array(tmp_path / "a.tif")


@pytest.mark.needs("tiff")
def test_a_palette_and_a_raw_file_are_no_numbers(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("P", (4, 4)).save(tmp_path / "a.tif")
    with pytest.raises(PhotoError, match=r"colours in a palette.*as a photo"):
        read_array(tmp_path / "a.tif")
    (tmp_path / "b.tif").write_bytes(tiff(uncompressed(4, 4, t50706=(1, 4, 1)), bytes(16)))
    with pytest.raises(PhotoError, match=r"raw file.*raw converter"):
        read_array(tmp_path / "b.tif")


@pytest.mark.needs("tiff")
def test_complex_pictures_are_refused(tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5), np.complex64))
    with pytest.raises(PhotoError, match="complex numbers"):
        read_array(tmp_path / "a.tif")


@pytest.mark.needs("medical")
def test_half_of_a_nifti_pair_is_refused(tmp_path: Path) -> None:
    import nibabel

    nibabel.save(nibabel.Nifti1Pair(np.zeros((2, 3, 4), np.int16), np.eye(4)), tmp_path / "a.hdr")
    with pytest.raises(PhotoError, match=r"the header of a NIfTI pair.*as one \.nii file"):
        read_array(tmp_path / "a.hdr")


@pytest.mark.needs("medical")
def test_vectors_at_each_voxel_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(nifti((2, 2, 2, 1, 3), bytes(96)))
    with pytest.raises(PhotoError, match="has 5 axes: 2 × 2 × 2 × 1 × 3"):
        read_array(tmp_path / "a.nii")


@pytest.mark.needs("medical")
@pytest.mark.parametrize("offset", [-5, 2**31])
def test_values_outside_of_the_file_are_refused(offset: float, tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(nifti((2, 2, 2), bytes(32), vox_offset=offset))
    with pytest.raises(PhotoError, match="bytes after its header"):
        read_array(tmp_path / "a.nii")


SERIES = {
    "a gap": (
        {"3": 35},
        {},
        r"Slices are missing in ct: 2 and 3 are 25 mm apart, and the others 5",
    ),
    "one position": ({"3": 5}, {}, "1 and 3 have one position in ct.*several echoes"),
    "no position": ({"3": 15}, {"ImagePositionPatient": None}, "3 does not state its position"),
    "a localizer": (
        {"3": 15},
        {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},
        "0 and 3 point in different directions",
    ),
    "a size": ({"3": 15}, {"Rows": 2, "PixelData": bytes(24)}, "0 and 3 have different sizes"),
    "frames": (
        {"3": 15},
        {"NumberOfFrames": 2, "PixelData": bytes(96)},
        "0 and 3 have different sizes, or several frames",
    ),
    "no number": ({"3": 15}, {"ImageOrientationPatient": [1, 0]}, "3 does not state its position"),
}


@pytest.mark.needs("medical")
@pytest.mark.parametrize("case", SERIES)
def test_slices_that_are_no_volume_are_refused(case: str, tmp_path: Path) -> None:
    further, fields, words = SERIES[case]
    folder = tmp_path / "ct"
    folder.mkdir()
    for name, position in {"0": 0, "1": 5, "2": 10}.items():
        write_slice(folder / name, 1, position)
    for name, position in further.items():
        write_slice(folder / name, 1, position, **fields)
    with pytest.raises(PhotoError, match=words):
        read_array(folder)


@pytest.mark.needs("medical")
def test_a_file_without_a_picture_is_refused(tmp_path: Path) -> None:
    import pydicom

    path = write_dicom(tmp_path / "a.dcm", marked())
    data = pydicom.dcmread(path)
    del data.PixelData
    data.save_as(path)
    with pytest.raises(PhotoError, match=r"holds no picture.*a report"):
        read_array(path)


@pytest.mark.needs("medical")
def test_a_file_without_the_first_bytes_of_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(bytes(200))
    with pytest.raises(PhotoError, match=r"does not begin as a DICOM file.*force=True"):
        read_array(tmp_path / "a.dcm")
