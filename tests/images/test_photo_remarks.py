"""Unread parts of a file get a remark, and errors name the kind of other files."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torch import nn

import scorecam as package
from command_line import SIDE, furnish, options, scorecam
from hostile_images import png, tiff, uncompressed
from scorecam.datasets.photos import upright_size
from scorecam.errors import PhotoError
from scorecam.images.photo import read, read_photo

RAMP = np.linspace(0, 1, 64 * 48).reshape(48, 64)


def greys(path: Path, highest: int, kind: type[np.generic] = np.uint16) -> Path:
    Image.fromarray((RAMP * highest).astype(kind)).save(path)
    return path


# ── greys of more than 8 bits ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_fewer_bits_than_sixteen_are_scaled_with_a_remark(
    bits: int, suffix: str, tmp_path: Path
) -> None:
    photo = read(greys(tmp_path / f"it.{suffix}", 2**bits - 1))

    expected = (RAMP * 255)[..., None]
    assert np.abs(np.asarray(photo.image) - expected).max() <= 1.5
    assert len(photo.remarks) == 1
    assert f"it.{suffix} has 16-bit greys that end at {2**bits - 1}" in photo.remarks[0]
    assert f"read as {bits} bits" in photo.remarks[0]


def test_fourteen_bit_greys_are_unchanged_with_a_remark(tmp_path: Path) -> None:
    """They could also be a dark 16-bit photo."""
    photo = read(greys(tmp_path / "it.tif", 2**14 - 1))

    assert np.asarray(photo.image).max() == 64
    assert photo.remarks[0].startswith("it.tif is dark: its 16-bit greys end at 16383 of 65535.")


@pytest.mark.parametrize("highest", [0, 2**14, 40_000, 65_535])
def test_full_scale_and_black_greys_get_no_remark(highest: int, tmp_path: Path) -> None:
    photo = read(greys(tmp_path / "it.png", highest))

    assert photo.remarks == ()
    assert np.asarray(photo.image).max() == round(highest / 65_535 * 255)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ((RAMP * 3000 - 1000).astype(np.int32), "from -1000 to 2000"),
        ((RAMP * 300).astype(np.float32), "from 0 to 300"),
        ((RAMP * 100_000).astype(np.int32), "from 0 to 100000"),
    ],
)
def test_stretched_values_get_a_remark(values: np.ndarray, says: str, tmp_path: Path) -> None:
    Image.fromarray(values).save(tmp_path / "it.tif")

    assert read(tmp_path / "it.tif").remarks == (
        f"it.tif has values {says}, stretched from black to white.",
    )


def test_twelve_bit_colours_get_a_remark(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + struct.pack(">H", 4095) * 24 for _ in range(8))
    import zlib

    (tmp_path / "it.png").write_bytes(png(8, 8, bits=16, pixels=zlib.compress(rows)))

    (remark,) = read(tmp_path / "it.png").remarks
    assert remark.startswith("it.png is nearly black: its 16-bit colours end at 15 of 255.")


def test_a_dark_eight_bit_photo_gets_no_remark(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (3, 2, 1)).save(tmp_path / "night.png")

    assert read(tmp_path / "night.png").remarks == ()


# ── frames, pages and bands ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "avif"])
def test_unread_frames_get_a_remark(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"it.{kind}"
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])

    assert read(path).remarks == (f"it.{kind} has several frames; only the first is read.",)

    frames[0].save(path)
    assert read(path).remarks == ()


def test_unread_pages_get_a_remark(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    pages[0].save(tmp_path / "it.tif", save_all=True, append_images=pages[1:])

    assert read(tmp_path / "it.tif").remarks == (
        "it.tif has several pages; only the first is read.",
    )


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_a_stack_of_grey_pages_is_refused(kind: type[np.generic], tmp_path: Path) -> None:
    """Satellite bands or slices of a volume: the first one alone is not a photo."""
    pages = [Image.fromarray((RAMP * 1).astype(kind))] * 5
    pages[0].save(tmp_path / "it.tif", save_all=True, append_images=pages[1:])

    with pytest.raises(PhotoError, match=r"holds 5 grey pages of 64 × 48 pixels.*tifffile"):
        read(tmp_path / "it.tif")


def test_a_smaller_copy_of_a_grey_page_is_not_a_stack(tmp_path: Path) -> None:
    first = uncompressed(16, 16)
    preview = uncompressed(16, 16, t254=(4, 1, 1))
    whole = tiff(first, bytes(256))
    second = tiff(preview, bytes(256))
    directory = second[264:]
    joined = whole[:-4] + struct.pack("<I", len(whole)) + directory
    (tmp_path / "it.tif").write_bytes(joined)

    assert read(tmp_path / "it.tif").remarks == ()


def test_an_unread_fourth_band_gets_a_remark(tmp_path: Path) -> None:
    body = bytes(8 * 8 * 4) + struct.pack("<4H", 8, 8, 8, 8)
    tags = uncompressed(
        8,
        8,
        t258=(3, 4, 8 + 256),
        t262=(3, 1, 2),
        t277=(3, 1, 4),
        t279=(4, 1, 256),
        t338=(3, 1, 0),
    )
    (tmp_path / "it.tif").write_bytes(tiff(tags, body))

    assert read(tmp_path / "it.tif").remarks == ("it.tif has 4 bands; only the first 3 are read.",)


def test_five_bands_are_named_in_the_error(tmp_path: Path) -> None:
    body = bytes(8 * 8 * 10) + struct.pack("<5H", *[16] * 5)
    tags = uncompressed(8, 8, t258=(3, 5, 8 + 640), t277=(3, 1, 5), t279=(4, 1, 640))
    (tmp_path / "it.tif").write_bytes(tiff(tags, body))

    with pytest.raises(PhotoError, match=r"a TIFF file with 5 bands of 16 bits.*rasterio"):
        read(tmp_path / "it.tif")


# ── the remark reaches the user ──────────────────────────────────────────────────────────────


class Means(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean((2, 3)))


def test_explanations_and_banks_include_the_remark(tmp_path: Path) -> None:
    torch.manual_seed(0)
    how = package.Preprocess(size=(16, 16), fit="squash", mean=(0.5,) * 3, std=(0.5,) * 3)
    model = package.open_model(Means(), preprocess=how)
    path = greys(tmp_path / "it.tif", 4095)

    explanation = package.explain(model, path, layer="features.1")

    assert "read as 12 bits" in explanation.provenance.remarks[0]
    explanation.bank.save(tmp_path / "it.safetensors")
    again = package.ScoreBank.load(tmp_path / "it.safetensors")
    assert again.provenance.remarks == explanation.provenance.remarks


def test_explain_and_show_print_remarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    greys(tmp_path / "deep.tif", 4095)

    answer = scorecam("explain", "deep.tif", *options())
    assert answer.code == 0, answer
    assert "deep.tif has 16-bit greys that end at 4095; they are read as 12 bits" in answer.err

    shown = scorecam("show", "out/deep.safetensors", "--out", "again.png")
    assert shown.code == 0, shown
    assert "they are read as 12 bits" in shown.err


@pytest.mark.needs("eval")
def test_a_run_prints_remarks_and_records_them(tmp_path: Path) -> None:
    import json

    photos = tmp_path / "photos"
    photos.mkdir()
    greys(photos / "deep.tif", 4095)
    Image.new("RGB", (SIDE, SIDE), "red").save(photos / "plain.png")
    how = package.Preprocess(size=(16, 16), fit="squash", mean=(0.5,) * 3, std=(0.5,) * 3)
    model = package.open_model(Means(), preprocess=how)

    summary = package.evaluate(
        model, photos, "scorecam", "quick", out=tmp_path / "run", layer="features.1"
    )

    (remark,) = [text for text in summary.remarks if "converted when they were read" in text]
    assert remark.startswith("Photos converted when they were read: 1. deep.tif has")
    records = [json.loads(path.read_text()) for path in tmp_path.glob("run/items/*/*/*.json")]
    assert sorted(("remarks" in record, record["name"]) for record in records) == [
        (False, "plain.png"),
        (True, "deep.tif"),
    ]


# ── other kinds of file ──────────────────────────────────────────────────────────────────────


def _saved(save: Any) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def _zip(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, "content")
    return file.getvalue()


NIFTI = struct.pack("<I", 348) + bytes(340) + b"n+1\0" + bytes(100)


@pytest.mark.parametrize(
    ("name", "content", "says", "do"),
    [
        ("a.npy", _saved(lambda file: np.save(file, RAMP)), "NumPy array file", "numpy.load"),
        ("a.png", _saved(lambda file: np.save(file, RAMP)), "NumPy array file", "numpy.load"),
        ("a.npz", _saved(lambda file: np.savez(file, a=RAMP)), "holds NumPy", "numpy.load"),
        ("a.dcm", bytes(128) + b"DICM" + bytes(300), "DICOM", "pydicom"),
        ("a.dcm", bytes(40) + b"\x08\0\0\0" * 30, "DICOM", "pydicom"),
        ("a.nii", NIFTI, "NIfTI volume", "nibabel"),
        ("a.nii.gz", gzip.compress(NIFTI, mtime=0), "NIfTI volume", "nibabel"),
        ("a.gz", gzip.compress(b"text", mtime=0), "compressed with gzip", "Unpack"),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(90), "HDF5", "h5py"),
        ("a.mat", b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(100), "MATLAB", "loadmat"),
        ("a.mp4", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", "a video", "ffmpeg"),
        ("a.mov", b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a video", "ffmpeg"),
        ("a.avi", b"RIFF\x24\0\0\0AVI LIST" + bytes(60), "a video", "ffmpeg"),
        ("a.mkv", b"\x1aE\xdf\xa3\x9fB\x86\x81\x01" + bytes(60), "a video", "ffmpeg"),
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC", "pillow-heif"),
        ("a.cr3", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "raw file", "rawpy"),
        ("a.cr2", b"II*\0\x10\0\0\0CR\2\0" + bytes(90), "raw file", "rawpy"),
        ("a.nef", tiff(uncompressed(4, 4), bytes(16)), "raw file", "rawpy"),
        ("a.tif", tiff(uncompressed(4, 4, t50706=(1, 4, 1)), bytes(16)), "raw file", "rawpy"),
        ("a.raf", b"FUJIFILMCCD-RAW 0201" + bytes(90), "raw file", "rawpy"),
        ("a.zip", _zip("cat.jpg"), "zip archive", "Extract the photo from"),
        ("a.pth", _zip("archive/data.pkl"), "weights", "--weights"),
        ("a.safetensors", b"\x40\0\0\0\0\0\0\0" + b'{"a":{}}', "score bank", "scorecam show"),
        ("a.psd", b"8BPS\0\1" + bytes(90), "Photoshop", "PNG"),
        ("a.exr", b"v/1\1" + bytes(90), "OpenEXR", "pass the array"),
        ("a.jxl", b"\xff\x0a" + bytes(90), "JPEG XL", "PNG"),
        ("a.ico", b"\0\0\1\0\1\0" + bytes(90), "icon", "PNG"),
        ("a.bin", b"\x13\x37" * 200, "format is not supported", "PNG or JPEG"),
    ],
)
def test_files_that_are_not_photos_are_named_in_the_error(
    name: str, content: bytes, says: str, do: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(PhotoError) as caught:
        read(tmp_path / name)

    assert f"{name} is not a photo that can be read." in caught.value.what
    assert says in caught.value.likely
    assert do in caught.value.do
    assert "than its name says" not in str(caught.value)
    assert len(str(caught.value)) <= 600


def test_heic_is_read_once_its_reader_is_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pillow-heif's register_heif_opener() does, which the message recommends."""

    class Heif(ImageFile.ImageFile):
        format = "HEIF"

        def _open(self) -> None:
            self._size, self._mode = (2, 1), "RGB"
            self.tile = []
            self.im = Image.new("RGB", (2, 1), "red").im

        def load(self) -> Any:
            return None

    monkeypatch.setitem(Image.OPEN, "HEIF", (Heif, lambda head: head[8:12] == b"heic"))
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")

    assert read_photo(path).size == (2, 1)


# ── arrays and images in memory ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "array",
    [
        np.full((8, 9, 3), "a", object),
        np.zeros((8, 9), [("r", "u1"), ("g", "u1")]),
        np.zeros((8, 9), [(f"a long name {number}", "u1") for number in range(900)]),
        np.zeros((8, 9, 3), np.complex64),
        np.zeros((8, 9, 3), "M8[s]"),
        np.zeros((8, 9, 3), "S4"),
        np.zeros((8, 9, 3), "U4"),
        np.zeros((8, 0, 3)),
        np.zeros((0, 0), np.uint8),
        np.zeros(()),
        np.full((8, 9), np.inf),
        np.ma.masked_all((8, 9), np.int16),
        np.zeros((1,) * 30),
    ],
)
def test_invalid_arrays_are_refused_with_a_short_message(array: np.ndarray) -> None:
    with pytest.raises(PhotoError) as caught:
        read_photo(array)
    assert len(str(caught.value)) <= 600


@pytest.mark.parametrize(
    "array",
    [
        RAMP.astype(np.float16),
        RAMP.astype(np.longdouble),
        RAMP.astype(">f4"),
        RAMP[::-1, ::-2],
        np.broadcast_to(RAMP[..., None], (48, 64, 3)),
        np.ma.masked_array(RAMP),
        (RAMP * 255).astype(np.uint8)[::-1].T,
    ],
)
def test_unusual_arrays_are_read_pixel_by_pixel(array: np.ndarray) -> None:
    plain_values = np.asarray(array)
    expected = plain_values if plain_values.dtype == np.uint8 else plain_values * 255.0
    expected = expected.reshape(*expected.shape[:2], -1)

    assert np.abs(np.asarray(read_photo(array)) - expected.astype(float)).max() <= 0.51


def _closed(path: Path) -> Image.Image:
    image = Image.open(path)
    image.close()
    return image


def _file_closed(path: Path) -> Image.Image:
    with path.open("rb") as file:
        return Image.open(file)


def _cut_short(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()[:-80]))


@pytest.mark.parametrize("make", [_closed, _file_closed, _cut_short])
def test_closed_images_are_refused(make: Any, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "it.png")

    with pytest.raises(PhotoError, match=r"The image cannot be decoded.*Give the path"):
        read_photo(make(tmp_path / "it.png"))


def test_a_lazy_image_is_read_and_stays_open(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3), "red").save(tmp_path / "it.png")
    with Image.open(tmp_path / "it.png") as image:
        assert read_photo(image).size == (4, 3)
        assert image.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("extension", ["jpg", "png", "tiff", "webp"])
def test_the_size_from_the_header_equals_that_of_the_photo(
    extension: str, orientation: int, tmp_path: Path
) -> None:
    """Some versions of Pillow swap the size of a TIFF themselves."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"it.{extension}"
    Image.new("RGB", (32, 20)).save(path, exif=exif)

    assert upright_size(path) == read_photo(path).size
