"""Readable photos are read correctly; everything else is refused.

Refused means exit code 2, nothing on stdout, and one paragraph on stderr: what happened, the likely
cause, and what to try.
"""

from __future__ import annotations

import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import toy_models
from command_line import (
    SIDE,
    listing,
    options,
    picture,
    refused,
    scorecam,
    whole,
)

pytestmark = pytest.mark.usefixtures("photo_folder")


# ── photos that cannot be read ───────────────────────────────────────────────────────────────


def jpeg(path: str, **how: Any) -> bytes:
    picture(3, 64, 48).save(path, "JPEG", **how)
    return Path(path).read_bytes()


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of 1-bit pixels, as its header says, with the chunks given."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    body = b"".join(chunk(*parts) for parts in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


def zeros(length: int) -> bytes:
    """`count` zero bytes, compressed without being in memory."""
    packer = zlib.compressobj(1)
    block = bytes(2**20)
    packed = [packer.compress(block) for _ in range(length // len(block))]
    return b"".join([*packed, packer.compress(bytes(length % len(block))), packer.flush()])


@pytest.mark.parametrize(
    ("name", "content", "phrases"),
    [
        ("nowhere.png", None, ["no file", "nowhere.png"]),
        ("cta.png", None, ["Did you mean 'cat.png'"]),
        ("empty.jpg", b"", ["empty.jpg is empty"]),
        ("text.jpg", b"Dear all,\nplease find attached the photo.\n", ["text.jpg is not a photo"]),
        ("page.png", b"<!DOCTYPE html><title>404</title>", ["web page"]),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", ["SVG", "PNG"]),
        ("paper.pdf", b"%PDF-1.7\n", ["PDF"]),
        ("phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", ["HEIC", "JPEG"]),
        ("random.png", bytes(range(256)) * 4, ["random.png is not a photo"]),
        ("header.png", png(8, 8), ["header.png", "cut short or damaged"]),
    ],
)
def test_files_that_are_not_photos_are_refused(
    name: str, content: bytes | None, phrases: list[str]
) -> None:
    if content is not None:
        Path(name).write_bytes(content)

    refused(scorecam("explain", name, *options()), *phrases)
    assert listing(Path("out")) == set()
    assert toy_models.SPIES[0].seen == []


def test_a_truncated_photo_is_refused() -> None:
    content = jpeg("cat.jpg")
    Path("cat.jpg").write_bytes(content[: len(content) // 2])

    refused(scorecam("explain", "cat.jpg", *options()), "cat.jpg", "cut short")


def test_a_folder_is_refused() -> None:
    Path("photos").mkdir()

    refused(scorecam("explain", "photos", *options()), "photos is a folder")


def test_a_web_address_is_refused() -> None:
    refused(
        scorecam("explain", "https://example.org/cat.jpg", *options()), "web address", "Save it"
    )


def test_a_huge_photo_is_refused_from_its_header() -> None:
    """The file really contains its 900 million pixels."""
    row = 1 + 30_000 // 8
    Path("huge.png").write_bytes(png(30_000, 30_000, (b"IDAT", zeros(30_000 * row))))
    began = time.perf_counter()
    answer = scorecam("explain", "huge.png", *options())

    refused(answer, "huge.png", "178,956,970 pixels")
    assert time.perf_counter() - began < 2


def test_a_decompression_bomb_in_metadata_is_refused() -> None:
    """A one-pixel photo with a compressed comment of 200 million characters."""
    comment = b"Comment\0\0" + zeros(200_000_000)
    Path("bomb.png").write_bytes(png(1, 1, (b"zTXt", comment), (b"IDAT", zlib.compress(b"\0\0"))))
    began = time.perf_counter()
    answer = scorecam("explain", "bomb.png", *options())

    assert answer.code in (0, 2), answer
    assert time.perf_counter() - began < 2


# ── photos of every kind ─────────────────────────────────────────────────────────────────────

RED, BLUE, WHITE, BLACK, GREY = (
    (255, 0, 0),
    (0, 0, 255),
    (255, 255, 255),
    (0, 0, 0),
    (128, 128, 128),
)


def halves(mode: str, left: Any, right: Any) -> Image.Image:
    """A photo of two colours, side by side."""
    photo = Image.new(mode, (SIDE, SIDE), left)
    photo.paste(right, (SIDE // 2, 0, SIDE, SIDE))
    return photo


def sixteen_bit(left: int, right: int) -> Image.Image:
    greys = np.full((SIDE, SIDE), left, np.uint16)
    greys[:, SIDE // 2 :] = right
    return Image.fromarray(greys)


def animation() -> dict[str, Any]:
    return {"save_all": True, "append_images": [halves("RGB", BLACK, BLACK)], "duration": 100}


def palette(left: int, right: int, **more: Any) -> Image.Image:
    photo = halves("P", left, right)
    photo.putpalette([*RED, *BLUE, *GREY])
    photo.info.update(more)
    return photo


@pytest.mark.parametrize(
    ("name", "photo", "how", "left", "right"),
    [
        ("cmyk.tif", halves("CMYK", (0, 255, 255, 0), (255, 255, 0, 0)), {}, RED, BLUE),
        ("cmyk.jpg", halves("CMYK", (0, 255, 255, 0), (255, 255, 0, 0)), {}, RED, BLUE),
        ("grey.png", halves("L", 0, 128), {}, BLACK, GREY),
        ("bits.png", halves("1", 0, 1), {}, BLACK, WHITE),
        ("16bit.png", sixteen_bit(0, 128 * 257), {}, BLACK, GREY),
        ("16bit.tif", sixteen_bit(128 * 257, 65535), {}, GREY, WHITE),
        ("palette.png", palette(0, 1), {}, RED, BLUE),
        ("palette.gif", palette(1, 0), {}, BLUE, RED),
        ("clear.png", palette(0, 1), {"transparency": 1}, RED, WHITE),
        ("alpha.png", halves("RGBA", (*RED, 255), (*BLUE, 0)), {}, RED, WHITE),
        ("alpha.webp", halves("RGBA", (*RED, 255), (0, 0, 0, 127)), {"lossless": True}, RED, GREY),
        ("grey-alpha.png", halves("LA", (0, 255), (0, 0)), {}, BLACK, WHITE),
        ("moving.gif", palette(0, 1), animation(), RED, BLUE),
        ("moving.webp", halves("RGB", RED, BLUE), animation() | {"lossless": True}, RED, BLUE),
        ("moving.png", halves("RGB", RED, BLUE), animation(), RED, BLUE),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_photos_of_every_kind_are_read_correctly(
    name: str, photo: Image.Image, how: dict[str, Any], left: Any, right: Any
) -> None:
    photo.save(name, **how)
    assert scorecam("explain", name, *options()).code == 0

    saw = (toy_models.SPIES[0].seen[0][0] * 0.5 + 0.5) * 255
    for columns, colour in ((saw[:, :, :6], left), (saw[:, :, -6:], right)):
        expected = torch.tensor(colour).float()[:, None, None].expand_as(columns)
        assert (columns - expected).abs().max() <= 8, "as far as JPEG may be off"


def test_the_model_and_the_overlay_have_the_photo_upright() -> None:
    """A wide file with a rotation tag is a tall photo in all respects."""
    tall = picture(4, 20, 60)
    tall.save("tall.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned left; viewers turn it right
    stored = tall.transpose(Image.Transpose.ROTATE_90)
    stored.save("stored.png", exif=exif)
    assert stored.size == (60, 20)

    words = [*options(), "--target", "0", "--json"]
    upright, turned = scorecam("explain", "tall.png", "stored.png", *words).items
    overlays = [whole(item["files"]["overlay"]) for item in (upright, turned)]
    saw = [spy.images for spy in toy_models.SPIES]

    assert upright["score"] == turned["score"]
    assert overlays[0].height > overlays[0].width
    np.testing.assert_array_equal(*map(np.asarray, overlays))
    assert len(saw) == 1


def test_a_photo_of_one_pixel_is_explained() -> None:
    Image.new("RGB", (1, 1), RED).save("pixel.png")
    answer = scorecam("explain", "pixel.png", *options(), "--json")

    assert answer.code == 0, answer
    assert min(whole(answer.items[0]["files"]["overlay"]).size) > 1


@pytest.mark.parametrize("size", [(3000, 2), (2, 3000)])
def test_a_photo_of_extreme_shape_is_explained(size: tuple[int, int]) -> None:
    picture(5, *size).save("strip.png")
    answer = scorecam("explain", "strip.png", *options(), "--json")

    assert answer.code == 0, answer
    assert whole(answer.items[0]["files"]["overlay"])


@pytest.mark.parametrize("name", ["cat [red] <script>.png", "-cat.png", " cat .png", "cat.tar.png"])
def test_a_photo_may_have_any_name(name: str) -> None:
    Path("cat.png").rename(name)
    answer = scorecam("explain", *options(), "--json", "--", name)

    assert answer.code == 0, answer
    assert answer.items[0]["image"] == name
    assert whole(answer.items[0]["files"]["overlay"])
