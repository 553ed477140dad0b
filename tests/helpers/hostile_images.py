"""Small image files that need much memory or time, each exhausting a reader in another way.

Run as a program, this reads the files named on the command line and prints a JSON list with the
memory, time and result of each.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image


def zeros(length: int, wrap: int = 15) -> bytes:
    """`length` zero bytes, compressed without ever being in memory at once."""
    packer = zlib.compressobj(9, wbits=wrap)
    block = bytes(2**20)
    packed = [packer.compress(block) for _ in range(length // len(block))]
    return b"".join([*packed, packer.compress(bytes(length % len(block))), packer.flush()])


# ── PNG ──────────────────────────────────────────────────────────────────────────────────────


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def png(
    width: int,
    height: int,
    *,
    bits: int = 8,
    colours: int = 2,
    before: bytes = b"",
    after: bytes = b"",
    interlaced: bool = False,
    pixels: bytes | None = None,
) -> bytes:
    """A PNG of zeros, with chunks before and after its pixels."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours]
    row = 1 + -(-width * samples * bits // 8)
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, int(interlaced))
    body = zeros(row * height * (2 if interlaced else 1)) if pixels is None else pixels
    parts = [chunk(b"IHDR", header), before, chunk(b"IDAT", body), after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _text(kind: bytes) -> bytes:
    bomb = zeros(150_000_000)
    if kind == b"iTXt":
        return chunk(kind, b"Comment\0\1\0\0\0" + bomb)
    return chunk(kind, b"Comment\0\0" + bomb)


# ── TIFF ─────────────────────────────────────────────────────────────────────────────────────

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}


def tiff(tags: dict[int, tuple[int, int, int]], body: bytes = b"", pages: int = 1) -> bytes:
    """A little-endian TIFF. A tag is (type, count, value or offset); bodies start at 8."""
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", tag, kind, count, value)
        for tag, (kind, count, value) in sorted(tags.items())
    )
    start = 8 + len(body)
    content = struct.pack("<2sHI", b"II", 42, start) + body
    for page in range(pages):
        last = page == pages - 1
        following = 0 if last else start + (page + 1) * (len(directory) + 4)
        content += directory + struct.pack("<I", following)
    return content


def uncompressed(
    width: int, height: int, **more: tuple[int, int, int]
) -> dict[int, tuple[int, int, int]]:
    tags = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, 8),
        259: (3, 1, 1),
        262: (3, 1, 1),
        273: (4, 1, 8),
        277: (3, 1, 1),
        278: (4, 1, height),
        279: (4, 1, width * height),
    }
    return tags | {int(tag[1:]): value for tag, value in more.items()}


def deflated(width: int, height: int, *, bits: int, kind: int, bands: int = 1) -> bytes:
    """One strip, as large as the image."""
    body = zeros(width * height * bands * bits // 8)
    depths = struct.pack("<4H", *[bits] * 4)
    at = 8 + len(body)
    return tiff(
        uncompressed(
            width,
            height,
            t258=(3, bands, at) if bands > 2 else (3, bands, bits),
            t259=(3, 1, 8),
            t262=(3, 1, 2 if bands > 2 else 1),
            t277=(3, 1, bands),
            t279=(4, 1, len(body)),
            t339=(3, 1, kind),
        ),
        body + depths,
    )


def overlapping(entries: int, length: int) -> bytes:
    """Many tags that point to the same bytes."""
    many = {1000 + tag: (7, length, 8) for tag in range(entries)}
    return tiff(uncompressed(4, 4) | many, bytes(length))


# ── GIF, JPEG, and what Pillow can write ─────────────────────────────────────────────────────


def gif_comment(blocks: int) -> bytes:
    comment = b"\x21\xfe" + (b"\xff" + b" " * 255) * blocks + b"\0"
    return b"GIF89a\1\0\1\0\0\0\0" + comment + b";"


def gif_frames(frames: int) -> bytes:
    file = io.BytesIO()
    Image.new("P", (1, 1)).save(file, "GIF")
    content = file.getvalue()
    start = content.index(b",\0\0\0\0\1\0\1\0")
    return content[:start] + content[start:-1] * frames + b";"


def jpeg_exif(megabytes: int) -> bytes:
    """EXIF data of this size, full of rational numbers, spread over many segments."""
    length = megabytes * 2**20
    entry = struct.pack("<HHHII", 1, 0x011A, 5, length // 8, 26)
    blob = b"II*\0\x08\0\0\0" + entry + bytes(4) + b"\1\0\0\0" * (length // 4)
    parts = [blob[at : at + 65_000] for at in range(0, len(blob), 65_000)]
    segments = b"".join(
        b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts
    )
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    return b"\xff\xd8" + segments + file.getvalue()[2:]


def jpeg_segments(count: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    return b"\xff\xd8" + b"\xff\xe5\0\2" * count + file.getvalue()[2:]


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">2BH", 0xFF, marker, len(content) + 2) + content


def scans(side: int) -> bytes:
    """A sequential JPEG with one scan per colour, so that its reader keeps all coefficients."""
    bands = b"".join(bytes([band, 0x11, 0]) for band in (1, 2, 3))
    tables = b"".join(_segment(0xC4, bytes([kind, 1]) + bytes(15) + b"\0") for kind in (0, 16))
    bits = 2 * (-(-side // 8)) ** 2  # for each block: no difference, no further coefficient
    pixels = bytes(bits // 8) + bytes([0xFF >> bits % 8] if bits % 8 else [])
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xDB, b"\0" + b"\1" * 64),
            _segment(0xC0, struct.pack(">BHHB", 8, side, side, 3) + bands),
            tables,
            *(_segment(0xDA, bytes([1, band, 0, 0, 63, 0])) + pixels for band in (1, 2, 3)),
            b"\xff\xd9",
        ]
    )


def saved(mode: str, kind: str, size: tuple[int, int], **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **options)
    return file.getvalue()


def rotated(side: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved("L", "PNG", (side, side), exif=exif)


def animated(kind: str, side: int, frames: int) -> bytes:
    file = io.BytesIO()
    pictures = [Image.new("RGB", (side, side), (number, 0, 0)) for number in range(frames)]
    pictures[0].save(file, kind, save_all=True, append_images=pictures[1:])
    return file.getvalue()


def icon(width: int, height: int) -> bytes:
    content = png(width, height, pixels=zeros(2**20))
    return struct.pack("<3H4B2H2I", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(content), 22) + content


def side(limit: int, cost: float) -> int:
    """The side of a square image that takes nearly the limit, at `cost` bytes per pixel."""
    return int(((limit - 20 * 2**20) / cost) ** 0.5)


def files(limit: int) -> dict[str, Callable[[], bytes]]:
    """Hostile files by name; the large ones are sized to stay just below the memory limit."""
    s8, s10, s12, s16, s26 = (side(limit, cost) for cost in (8, 10, 12, 16, 26))
    return {
        "rgb.png": lambda: png(s8, s8),
        "rgba.png": lambda: png(s8, s8, colours=6),
        "grey-alpha.png": lambda: png(s8, s8, colours=4),
        "rgb16.png": lambda: png(s8, s8, bits=16),
        "rgba16.png": lambda: png(s8, s8, bits=16, colours=6),
        "grey16.png": lambda: png(s8, s8, bits=16, colours=0),
        "bits.png": lambda: png(s8, s8, bits=1, colours=0),
        "interlaced.png": lambda: png(s8, s8, interlaced=True),
        "row.png": lambda: png(s8 * s8, 1, colours=0),
        "column.png": lambda: png(1, s8 * s8 // 4, bits=16, colours=0),
        "rotated.png": lambda: rotated(s8),
        "too-large.png": lambda: png(3 * s8, 3 * s8, pixels=zeros(2**20)),
        "animated.png": lambda: animated("PNG", 300, 40),
        "ztxt.png": lambda: png(1, 1, before=_text(b"zTXt")),
        "itxt.png": lambda: png(1, 1, before=_text(b"iTXt")),
        "iccp.png": lambda: png(1, 1, before=chunk(b"iCCP", b"p\0\0" + zeros(150_000_000))),
        "chunks-before.png": lambda: png(1, 1, before=chunk(b"prVt", b"") * 500_000),
        "chunks-after.png": lambda: png(1, 1, after=chunk(b"prVt", b"") * 500_000),
        "exif.png": lambda: png(1, 1, before=chunk(b"eXIf", overlapping(4000, 2_000_000))),
        "frames.png": lambda: png(
            1, 1, before=chunk(b"acTL", struct.pack(">2I", 2**31 - 1, 0)), colours=0
        ),
        "rgb16-strip.tif": lambda: deflated(s10, s10, bits=16, kind=1, bands=3),
        "float-strip.tif": lambda: deflated(s12, s12, bits=32, kind=3),
        "int-strip.tif": lambda: deflated(s8, s8, bits=32, kind=2),
        "grey16-strip.tif": lambda: deflated(s8, s8, bits=16, kind=1),
        "lzma.tif": lambda: saved("RGB", "TIFF", (s10, s10), compression="lzma"),
        "jpeg.tif": lambda: saved("RGB", "TIFF", (s10, s10), compression="jpeg"),
        "lab.tif": lambda: saved("LAB", "TIFF", (s10, s10), compression="tiff_lzw"),
        "overlapping-tags.tif": lambda: overlapping(4000, 200_000),
        "many-tags.tif": lambda: overlapping(60_000, 5),
        "strips.tif": lambda: tiff(uncompressed(4, 4, t273=(4, 5_000_000, 8)), bytes(20_000_000)),
        "rationals.tif": lambda: tiff(
            uncompressed(4, 4, t33550=(5, 2_000_000, 8)), b"\1" * 16_000_000
        ),
        "exif-rationals.tif": lambda: tiff(
            uncompressed(4, 4, t34665=(4, 1, 16_000_008)),
            b"\1" * 16_000_000 + struct.pack("<HHHII", 1, 37500, 5, 2_000_000, 8) + bytes(4),
        ),
        "pages.tif": lambda: tiff(uncompressed(4, 4), bytes(16), pages=20_000),
        "endless.tif": lambda: tiff(uncompressed(4, 4), bytes(16))[:-4] + struct.pack("<I", 24),
        "comment.gif": lambda: gif_comment(60_000),
        "frames.gif": lambda: gif_frames(100_000),
        "large.gif": lambda: saved("P", "GIF", (s8, s8)),
        "progressive.jpg": lambda: saved(
            "RGB", "JPEG", (s10, s10), progressive=True, subsampling=0
        ),
        "cmyk.jpg": lambda: saved("CMYK", "JPEG", (s12, s12), progressive=True),
        "scans.jpg": lambda: scans(s10),
        "baseline.jpg": lambda: saved("RGB", "JPEG", (s8, s8)),
        "exif.jpg": lambda: jpeg_exif(12),
        "more-exif.jpg": lambda: jpeg_exif(64),
        "segments.jpg": lambda: jpeg_segments(2_000_000),
        "still.webp": lambda: saved("RGB", "WEBP", (s16, s16), method=0),
        "moving.webp": lambda: animated("WEBP", 600, 20),
        "rgba.avif": lambda: saved("RGBA", "AVIF", (s16, s16), speed=10, subsampling="4:4:4"),
        "rgb.jp2": lambda: saved("RGB", "JPEG2000", (s26, s26), num_resolutions=2),
        "rgba.jp2": lambda: saved("RGBA", "JPEG2000", (s26, s26), num_resolutions=2),
        "plain.ppm": lambda: b"P2 9000 9000 255\n" + b"0 " * 20_000_000,
        "large.bmp": lambda: saved("P", "BMP", (s8, s8)),
        "rle.tga": lambda: saved("RGB", "TGA", (s8, s8), compression="tga_rle"),
        "icon.ico": lambda: icon(3 * s8, 3 * s8),
    }


def _measure(path: str) -> dict[str, Any]:
    before, start = _memory("VmRSS"), time.perf_counter()
    try:
        photo = read(path)
        outcome = f"{photo.image.size}, {len(photo.remarks)} remarks"
    except ScorecamError as error:
        outcome = str(error)
    seconds = time.perf_counter() - start
    return {
        "file": Path(path).name,
        "bytes": Path(path).stat().st_size,
        "peak": _memory("VmHWM") - before,
        "seconds": round(seconds, 2),
        "outcome": outcome,
    }


def _in_child(path: str) -> dict[str, Any]:
    """The same in a child process, so that memory used for one file is not counted for the next."""
    reading_end, writing_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing_end, json.dumps(_measure(path)).encode())
        os._exit(0)
    os.close(writing_end)
    with os.fdopen(reading_end, "rb") as file:
        answer = file.read()
    os.waitpid(child, 0)
    return json.loads(answer)


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    from scorecam.errors import ScorecamError
    from scorecam.images.photo import read

    _measure(__file__)  # allocates what is allocated only once
    sys.stdout.write(json.dumps([_in_child(path) for path in sys.argv[1:]]))
