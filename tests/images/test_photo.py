"""Photos of every kind are read as viewers show them; everything else is refused."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scorecam.errors import PhotoError
from scorecam.images.photo import MAX_PIXELS, read_photo

# Three rows, two columns: rows and columns can't be confused, and no two pixels are alike.
COLOURS = np.array(
    [
        [[200, 30, 10], [20, 180, 60]],
        [[10, 40, 220], [250, 240, 20]],
        [[0, 0, 0], [255, 255, 255]],
    ],
    dtype=np.uint8,
)
GREYS = np.array([[0, 51], [102, 153], [204, 255]], dtype=np.uint8)


def pixels(source: object) -> np.ndarray:
    photo = read_photo(source)  # type: ignore[arg-type]
    assert (photo.mode, photo.info) == ("RGB", {})
    return np.asarray(photo)


def stored_mode(path: Path) -> str:
    with Image.open(path) as image:
        return image.mode


def rgb(greys: np.ndarray) -> np.ndarray:
    return np.repeat(greys[..., None], 3, axis=2)


@pytest.mark.parametrize("extension", ["png", "bmp", "tiff", "webp", "gif", "ppm", "tga"])
def test_rgb_files_keep_every_pixel(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"photo.{extension}"
    Image.fromarray(COLOURS).save(path, **({"lossless": True} if extension == "webp" else {}))

    np.testing.assert_array_equal(pixels(path), COLOURS)
    np.testing.assert_array_equal(pixels(str(path)), COLOURS)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["jpg", "png", "tiff", "webp"])
def test_photos_are_turned_upright(tmp_path: Path, extension: str, orientation: int) -> None:
    """The stored pixels of each EXIF orientation are read upright."""
    upright = np.kron(COLOURS, np.ones((16, 16, 1), np.uint8))
    turned = upright.swapaxes(0, 1)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: turned,
        6: turned[::-1],
        7: turned[::-1, ::-1],
        8: turned[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{extension}"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, quality=95)

    photo = read_photo(path)

    assert photo.size == (32, 48)
    assert np.abs(np.asarray(photo)[8::16, 8::16].astype(int) - COLOURS).max() <= 12
    again = np.asarray(read_photo(photo))
    np.testing.assert_array_equal(again, np.asarray(photo), "turned twice")


def test_a_photo_with_damaged_metadata_is_read(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.fromarray(COLOURS).save(path, exif=b"Exif\x00\x00not a TIFF header at all", quality=95)

    assert read_photo(path).size == (2, 3)


def test_cmyk_jpegs_are_read_in_their_colours(tmp_path: Path) -> None:
    """Pillow writes CMYK inverted, with Adobe's marker, as Photoshop does."""
    block = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    path = tmp_path / "photo.jpg"
    Image.fromarray(block).convert("CMYK").save(path, quality=95)
    assert b"Adobe" in path.read_bytes()

    assert np.abs(pixels(path).astype(int) - block).max() <= 4


@pytest.mark.parametrize("extension", ["png", "tiff"])
def test_sixteen_bit_greys_are_scaled_not_clipped(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"photo.{extension}"
    Image.fromarray(GREYS.astype(np.uint16) * 257).save(path)
    assert stored_mode(path).startswith("I")

    np.testing.assert_array_equal(pixels(path), rgb(GREYS))


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B"])
def test_either_byte_order_reads_the_same(mode: str) -> None:
    dtype = ">u2" if mode.endswith("B") else "<u2"
    stored = (GREYS.astype(np.uint16) * 257).astype(dtype).tobytes()

    np.testing.assert_array_equal(pixels(Image.frombytes(mode, (2, 3), stored)), rgb(GREYS))


def test_a_big_endian_sixteen_bit_tiff_is_read_correctly(tmp_path: Path) -> None:
    path = tmp_path / "photo.tiff"
    path.write_bytes(sixteen_bit_tiff(GREYS.astype(">u2") * 257))
    assert stored_mode(path) == "I;16B"

    np.testing.assert_array_equal(pixels(path), rgb(GREYS))


@pytest.mark.parametrize("colour_type", [2, 6])
def test_sixteen_bit_colours_are_read_correctly(tmp_path: Path, colour_type: int) -> None:
    path = tmp_path / "photo.png"
    opaque = np.dstack([COLOURS, np.full((3, 2), 255, np.uint8)])
    samples = COLOURS if colour_type == 2 else opaque
    path.write_bytes(png(samples.astype(">u2") * 257, bits=16, colour_type=colour_type))

    np.testing.assert_array_equal(pixels(path), COLOURS)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (GREYS.astype(np.int32) * 257, GREYS),  # fits 16 bits: read as 16 bits
        (GREYS.astype(np.int32) // 2 * 257, GREYS // 2),  # and not stretched
        (
            GREYS.astype(np.int32) * 1_000_000,
            GREYS,
        ),  # does not fit: stretched from minimum to maximum
        (GREYS.astype(np.int32) * 100 - 9000, GREYS),
        (GREYS.astype(np.float32) / 255, GREYS),
        (GREYS.astype(np.float32) / 510, (GREYS / 2).round()),  # fits [0, 1]: not stretched
        (GREYS.astype(np.float32) * 7 - 100, GREYS),
        (np.full((3, 2), -4.0, np.float32), np.zeros((3, 2))),
    ],
)
def test_greys_of_more_than_8_bits_are_read_as_documented(
    tmp_path: Path, values: np.ndarray, expected: np.ndarray
) -> None:
    path = tmp_path / "photo.tiff"
    Image.fromarray(values).save(path)

    assert np.abs(pixels(path).astype(float) - rgb(expected)).max() <= 1


def test_palettes_and_one_bit_images_are_read(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(COLOURS).quantize(6).save(path)
    assert stored_mode(path) == "P"
    np.testing.assert_array_equal(pixels(path), COLOURS)

    bits = np.array([[0, 255], [255, 0], [255, 255]], np.uint8)
    Image.fromarray(bits).convert("1").save(path)
    assert stored_mode(path) == "1"
    np.testing.assert_array_equal(pixels(path), rgb(bits))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
def test_transparent_parts_become_white(mode: str) -> None:
    """Opaque pixels stay, transparent ones become white, half-transparent ones are mixed."""
    straight = Image.new("RGBA", (3, 1))
    straight.putdata([(100, 100, 100, 255), (100, 100, 100, 0), (100, 100, 100, 128)])
    image = (straight.convert("LA") if mode == "La" else straight).convert(mode)

    assert np.abs(pixels(image)[0, :, 0].astype(int) - [100, 255, 177]).max() <= 1


def test_transparent_colours_become_white(tmp_path: Path) -> None:
    """One colour of a palette, of RGB, or one grey may be declared transparent in a PNG or GIF."""
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    for extension in ("png", "gif"):
        palette.save(tmp_path / f"p.{extension}", transparency=1)
        expected = [[[10, 20, 30], [255, 255, 255]]]
        np.testing.assert_array_equal(pixels(tmp_path / f"p.{extension}"), expected)
    palette.save(tmp_path / "alphas.png", transparency=bytes([255, 128]))
    np.testing.assert_allclose(pixels(tmp_path / "alphas.png")[0, 1], [227, 177, 152], atol=1)
    palette.convert("RGB").save(tmp_path / "rgb.png", transparency=(200, 100, 50))
    np.testing.assert_array_equal(pixels(tmp_path / "rgb.png"), expected)
    Image.fromarray(GREYS).save(tmp_path / "l.png", transparency=102)
    np.testing.assert_array_equal(pixels(tmp_path / "l.png")[1, 0], [255, 255, 255])


@pytest.mark.parametrize("extension", ["gif", "png", "webp", "tiff"])
def test_the_first_frame_is_read(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"moving.{extension}"
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue", "lime")]
    lossless = {"lossless": True} if extension == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **lossless)

    np.testing.assert_array_equal(pixels(path), np.asarray(frames[0]))


def test_lab_is_read_in_its_colours(tmp_path: Path) -> None:
    """CIELAB (D50) of sRGB's white, middle grey and red: L in 0..255, then a and b."""
    lab = np.array([[[255, 0, 0], [137, 0, 0], [139, 81, 70]]], np.uint8)
    path = tmp_path / "photo.tiff"
    Image.frombytes("LAB", (3, 1), lab.tobytes()).save(path)
    assert stored_mode(path) == "LAB"

    np.testing.assert_allclose(
        pixels(path)[0], [[255, 255, 255], [128, 128, 128], [255, 0, 0]], atol=8
    )


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBX"])
def test_other_colour_spaces_are_read(mode: str) -> None:
    assert np.abs(pixels(Image.fromarray(COLOURS).convert(mode)).astype(int) - COLOURS).max() <= 5


def test_one_pixel_is_a_photo(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "dot.png")

    np.testing.assert_array_equal(pixels(tmp_path / "dot.png"), [[[1, 2, 3]]])


def test_a_pil_image_is_copied_and_not_changed() -> None:
    image = Image.fromarray(COLOURS)
    image.info["dpi"] = (72, 72)

    read_photo(image).putpixel((0, 0), (9, 9, 9))

    np.testing.assert_array_equal(np.asarray(image), COLOURS)
    assert image.info == {"dpi": (72, 72)}


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (COLOURS, COLOURS),
        (GREYS, rgb(GREYS)),
        (COLOURS / 255, COLOURS),
        (GREYS.astype(np.float32) / 255, rgb(GREYS)),
        (COLOURS[::-1, ::-1], COLOURS[::-1, ::-1]),
        (np.asfortranarray(COLOURS), COLOURS),
    ],
)
def test_arrays_are_photos(array: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(pixels(array), expected)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((3, 8, 9), np.uint8), "transpose(1, 2, 0)"),
        (np.zeros((8, 9, 4), np.uint8), "(8, 9, 4)"),
        (np.zeros((8,), np.uint8), "(8,)"),
        (np.zeros((1, 8, 9, 3), np.uint8), "(1, 8, 9, 3)"),
        (np.zeros((0, 9, 3), np.uint8), "no pixels"),
        (np.zeros((8, 9, 3), np.int64), "int64"),
        (np.zeros((8, 9), bool), "bool"),
        (np.full((8, 9, 3), 255.0), "from 255 to 255"),
        (np.full((8, 9, 3), -0.1), "[0, 1]"),
        (np.full((8, 9, 3), np.nan), "[0, 1]"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000)), f"{MAX_PIXELS:,}"),
    ],
)
def test_invalid_arrays_are_refused(array: np.ndarray, says: str) -> None:
    with pytest.raises(PhotoError) as caught:
        read_photo(array)

    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.jpg", b"", "is empty"),
        ("notes.jpg", b"Dear diary", "not a photo"),
        ("cat.svg", b'\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        ("cat2.svg", b'<?xml version="1.0"?><svg/>', "SVG"),
        ("cat.pdf", b"%PDF-1.7 ...", "PDF"),
        ("cat.heic", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "pillow-heif"),
        ("cat.jpg", b"<!DOCTYPE html><html>404</html>", "web page"),
        ("cat.zip", b"PK\x03\x04\x14\x00", "zip"),
        ("cat.png", b"\x89PNG\r\n\x1a\n\x00\x00", "cut short"),
        ("cat.jpeg", b"\xff\xd8\xff\xe0\x00\x10JFIF", "damaged"),
        (
            "cat.eps",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
            "PostScript",
        ),
        ("cat.ps", b"%!PS\nshowpage\n", "PostScript"),
    ],
)
def test_files_that_are_not_photos_are_described(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(PhotoError) as caught:
        read_photo(tmp_path / name)

    assert name in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "gif", "tiff", "bmp"])
def test_a_photo_truncated_anywhere_is_refused(tmp_path: Path, extension: str) -> None:
    """Never half a photo, and never a foreign error."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    whole = io.BytesIO()
    Image.fromarray(noise).save(whole, {"jpg": "jpeg"}.get(extension, extension))
    path = tmp_path / f"photo.{extension}"
    for part in (0.001, 0.01, 0.1, 0.5, 0.9):
        path.write_bytes(whole.getvalue()[: int(part * len(whole.getvalue()))])

        with pytest.raises(PhotoError):
            read_photo(path)


def test_damaged_photos_are_read_or_raise_our_error(tmp_path: Path) -> None:
    """Random bytes overwritten in files of several kinds never lead to a foreign error."""
    random = np.random.default_rng(1)
    path = tmp_path / "photo"
    for kind in ("jpeg", "png", "webp", "gif", "tiff", "bmp", "ico", "ppm", "tga", "jpeg2000"):
        whole = io.BytesIO()
        Image.fromarray(COLOURS).resize((32, 48)).save(whole, kind)
        for _ in range(40):
            damaged = bytearray(whole.getvalue())
            for place in random.integers(0, min(len(damaged), 200), 6):
                damaged[place] = random.integers(256)
            path.write_bytes(damaged)
            try:
                photo = read_photo(path)
            except PhotoError:
                continue
            assert photo.mode == "RGB"


def test_a_misspelled_file_name_has_a_suggestion(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "chelsea.png")

    with pytest.raises(PhotoError, match=r"Did you mean 'chelsea\.png'\?"):
        read_photo(tmp_path / "chelsae.png")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("no/such/folder/cat.jpg", "There is no file"),
        ("https://example.org/cat.jpg", "web address"),
        ("cat\0.jpg", "cannot be read"),
        ("c" * 5000, "cannot be read"),
        ("", "folder"),
        (b"\x89PNG", "of type bytes"),
        (None, "of type NoneType"),
        (3, "of type int"),
    ],
)
def test_values_that_are_not_file_names_are_refused(source: object, says: str) -> None:
    with pytest.raises(PhotoError) as caught:
        read_photo(source)  # type: ignore[arg-type]

    assert says in str(caught.value)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="is a folder"):
        read_photo(tmp_path)


def test_a_file_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so the refusal of the system is simulated."""
    path = tmp_path / "photo.png"
    Image.fromarray(COLOURS).save(path)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)

    with pytest.raises(PhotoError, match="permission denied"):
        read_photo(path)


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(PhotoError, match="no pixels"):
        read_photo(Image.new("RGB", (0, 5)))


def test_a_decompression_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    """Even without any pixels, the file is refused as too large."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b""))

    with pytest.raises(PhotoError, match=f"more than {MAX_PIXELS:,} pixels"):
        read_photo(path)


@pytest.mark.parametrize("limit", [None, 10**12])
def test_the_pixel_limit_is_independent_of_pillows(
    monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    decoded = False

    class Huge(Image.Image):
        size = (30_000, 30_000)
        width = height = 30_000

        def load(self) -> None:
            nonlocal decoded
            decoded = True

    with pytest.raises(PhotoError, match="pixels"):
        read_photo(Huge())
    assert not decoded


def test_reading_does_not_change_pillow_or_warnings(tmp_path: Path) -> None:
    """A photo above Pillow's soft limit is read without a warning or lasting changes."""
    path = tmp_path / "wide.png"
    Image.new("1", (9_500, 9_500)).save(path)
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert read_photo(path).size == (9_500, 9_500)

    assert seen == []
    assert before == (Image.MAX_IMAGE_PIXELS, list(warnings.filters))


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def png(samples: np.ndarray, bits: int, colour_type: int) -> bytes:
    """A PNG of big-endian samples (h, w, c), of kinds that Pillow does not write."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def sixteen_bit_tiff(greys: np.ndarray) -> bytes:
    """A big-endian TIFF of greys, uncompressed, in one strip."""
    height, width = greys.shape
    tags = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 273: 8, 277: 1, 278: height}
    tags[279] = greys.nbytes
    entries = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    body = greys.tobytes()
    head = struct.pack(">2sHI", b"MM", 42, 8 + len(body))
    return head + body + struct.pack(">H", len(tags)) + entries + struct.pack(">I", 0)


def test_the_former_path_of_read_photo_can_be_imported() -> None:
    from scorecam import photo

    assert photo.read_photo is read_photo
