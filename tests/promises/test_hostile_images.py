"""A hostile image file is read or refused; it starts no program and takes little memory."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import hostile_images
import scorecam
from scorecam.datasets.formats.masks import read_masks
from scorecam.datasets.photos import upright_size
from scorecam.errors import ScorecamError, SettingError
from scorecam.images.memory import PHOTO_MEMORY, SETTING
from scorecam.images.photo import read_photo
from scorecam.methods.files import Maps
from scorecam.page import decodable
from scorecam.page.thumbnails import thumbnail

SOURCES = Path(scorecam.__file__).parent
LIMIT = 96 * 2**20


# ── one module opens images ──────────────────────────────────────────────────────────────────


def test_only_one_module_opens_images() -> None:
    opens = re.compile(r"Image\.open\(|ImageFile\.Parser|\bImageShow\b|from PIL\.Image import")
    openers = [file for file in SOURCES.rglob("*.py") if opens.search(file.read_text("utf-8"))]

    assert openers == [SOURCES / "images" / "opening.py"]


def test_images_are_opened_with_a_list_of_formats() -> None:
    text = (SOURCES / "images" / "opening.py").read_text("utf-8")

    assert text.count("Image.open(") == text.count("formats=_formats(kind)") == 1


# ── every reader of images, and the formats it must refuse ───────────────────────────────────

Reader = Callable[[Path], object]


def _mask(path: Path) -> object:
    parents = [parent for parent in path.parents if len(str(parent)) < 300]
    folder = next(parent for parent in parents if parent.is_dir())
    photo = folder / "photo.png"
    Image.new("RGB", (9, 9)).save(photo)
    return read_masks([path], photo)


def _map(path: Path) -> object:
    path.with_name("map.png").write_bytes(path.read_bytes())
    image = torch.zeros(3, 9, 9)
    case = type("Case", (), {"name": "map.jpg", "image": image})()
    return Maps("maps", str(path.parent)).heatmap(case)  # type: ignore[arg-type]


def _bank(path: Path) -> object:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
    )
    bank = scorecam.ScoreCAM(net, layer="1").bank(torch.rand(3, 9, 9))
    object.__setattr__(bank, "view", path.read_bytes())  # as in an edited file
    return bank.picture()


def _thumbnail(path: Path) -> object:
    return thumbnail(path.read_bytes(), 64, "the photo")


def _gallery(path: Path) -> object:
    if decodable(path.read_bytes()) is None:
        raise ScorecamError("The entry is not a JPEG.")
    return path


READERS: dict[str, Reader] = {
    "a photo": read_photo,
    "the size of a photo": upright_size,
    "a mask": _mask,
    "a map": _map,
    "the view in a bank": _bank,
    "a picture on a page": _thumbnail,
    "a gallery entry": _gallery,
}

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n"


def _foreign(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, kind)
    return file.getvalue()


UNSUPPORTED = {
    "EPS": EPS,
    "EPS in DOS": b"\xc5\xd0\xd3\xc6" + (30).to_bytes(4, "little") + bytes(22) + EPS,
    "WMF": b"\xd7\xcd\xc6\x9a\0\0" + bytes(16) + b"\1\0\x09\0" + bytes(60),
    "PSD": b"8BPS\0\1" + bytes(60),
    "FLI": bytes(4) + b"\x11\xaf" + bytes(200),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "GRIB": b"GRIB\0\0\0\1" + bytes(100),
    "BUFR": b"BUFR" + bytes(100),
    "FITS": b"SIMPLE  =                    T" + bytes(2880),
    **{kind: _foreign(kind) for kind in ("ICO", "ICNS", "PCX", "SGI", "DDS")},
}


@pytest.fixture
def ghostscript_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that exists once Ghostscript was started; a fake `gs` comes first in PATH."""
    log = tmp_path / "ran"
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho \"$@\" >> '{log}'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", str(program))
    return log


@pytest.mark.parametrize("kind", UNSUPPORTED)
@pytest.mark.parametrize("reader", READERS)
def test_an_unsupported_format_is_refused_and_runs_nothing(
    reader: str, kind: str, tmp_path: Path, ghostscript_log: Path
) -> None:
    path = tmp_path / "it.png"
    path.write_bytes(UNSUPPORTED[kind])
    began = time.perf_counter()

    with pytest.raises(ScorecamError) as caught:
        READERS[reader](path)

    assert len(str(caught.value)) <= 600
    assert not ghostscript_log.exists()
    assert time.perf_counter() - began < 5


def test_pillow_would_run_the_fake_ghostscript(tmp_path: Path, ghostscript_log: Path) -> None:
    """Otherwise the test above could not fail."""
    path = tmp_path / "it.eps"
    path.write_bytes(EPS)
    with Image.open(path) as image, pytest.raises((OSError, subprocess.CalledProcessError)):
        image.load()

    assert ghostscript_log.exists()


def test_an_eps_image_opened_by_the_user_is_not_decoded(
    tmp_path: Path, ghostscript_log: Path
) -> None:
    path = tmp_path / "it.eps"
    path.write_bytes(EPS)
    with Image.open(path) as image, pytest.raises(scorecam.PhotoError, match="PostScript"):
        read_photo(image)

    assert not ghostscript_log.exists()


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("reader", ["the view in a bank", "a gallery entry"])
def test_views_must_be_jpegs(reader: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "it.jpg"
    Image.new("RGB", (9, 9)).save(path, kind)
    with pytest.raises(ScorecamError):
        READERS[reader](path)

    Image.new("RGB", (9, 9)).save(path, "JPEG")
    assert READERS[reader](path)


def test_a_view_of_the_wrong_size_is_refused_undecoded(tmp_path: Path) -> None:
    path = tmp_path / "it.jpg"
    Image.new("RGB", (4000, 4000)).save(path, "JPEG")
    content = path.read_bytes()
    path.write_bytes(content[:1000])  # decoding it would raise another error

    with pytest.raises(scorecam.BankError, match="4000 × 4000"):
        _bank(path)


def test_a_huge_picture_in_a_gallery_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "it.jpg"
    Image.new("L", (5000, 4000)).save(path, "JPEG")

    assert decodable(path.read_bytes()) is None


# ── pipes, sockets, devices and folders ──────────────────────────────────────────────────────


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_fifo, _socket, _device, Path.mkdir])
@pytest.mark.parametrize("reader", ["a photo", "the size of a photo", "a mask"])
@pytest.mark.timeout(20)
def test_anything_but_a_regular_file_is_refused_at_once(
    reader: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "it.png"
    make(path)

    with pytest.raises(ScorecamError, match=r"not a regular file|is a folder|cannot be read"):
        READERS[reader](path)


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 5000, "\ud800.png", "a/" * 3000])
@pytest.mark.parametrize("reader", ["a photo", "the size of a photo", "a mask"])
def test_impossible_file_names_are_refused(reader: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(ScorecamError):
        READERS[reader](tmp_path / name)


# ── memory and time ──────────────────────────────────────────────────────────────────────────


def measured(folder: Path, limit: int) -> list[dict[str, Any]]:
    """Memory, time and result of reading each hostile file, each in its own process."""
    paths: list[str] = []
    for name, make in hostile_images.files(limit).items():
        (folder / name).write_bytes(make())
        paths.append(str(folder / name))
    answer = subprocess.run(
        [sys.executable, hostile_images.__file__, *paths],
        env=os.environ | {SETTING: str(limit)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(answer.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
def test_no_photo_exceeds_the_memory_limit_or_ten_seconds(tmp_path: Path) -> None:
    results = measured(tmp_path, LIMIT)

    assert len(results) == len(hostile_images.files(LIMIT))
    assert [result for result in results if result["peak"] > LIMIT] == []
    assert [result for result in results if result["seconds"] > 10] == []
    assert max(result["peak"] for result in results) > LIMIT * 0.7, "some reach the limit"
    assert all(len(result["outcome"]) <= 600 for result in results)


def test_the_default_limit_is_one_gibibyte_and_errors_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    path = tmp_path / "wide.png"
    path.write_bytes(hostile_images.png(13_000, 13_000, pixels=b""))

    assert PHOTO_MEMORY == 2**30
    with pytest.raises(scorecam.PhotoError) as caught:
        read_photo(path)
    assert "13,000 × 13,000 pixels" in str(caught.value)
    assert "the limit is 1.0 GiB" in str(caught.value)
    assert "set SCORECAM_PHOTO_MEMORY, for example to 3GiB" in str(caught.value)

    monkeypatch.setenv(SETTING, "3GiB")
    with pytest.raises(scorecam.PhotoError, match="cut short"):  # the file has no pixels
        read_photo(path)


@pytest.mark.parametrize(
    ("text", "pixels"),
    [("20MB", 200), ("20 MiB", 500), ("0.02g", 300), ("20000000", 200), ("1TiB", 3000)],
)
def test_the_limit_accepts_common_units(
    text: str, pixels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (pixels, pixels)).save(tmp_path / "it.png")
    monkeypatch.setenv(SETTING, text)
    assert read_photo(tmp_path / "it.png").width == pixels

    Image.new("L", (8000, 2000)).save(tmp_path / "large.png")
    if text != "1TiB":
        with pytest.raises(scorecam.PhotoError, match="limit is"):
            read_photo(tmp_path / "large.png")


@pytest.mark.parametrize("text", ["much", "-1", "0", "1e9", "12 apples", "inf"])
def test_an_invalid_limit_is_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "it.png")
    monkeypatch.setenv(SETTING, text)

    with pytest.raises(SettingError, match="not an amount of memory"):
        read_photo(tmp_path / "it.png")


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "F", "I;16", "CMYK"])
def test_the_limit_applies_to_images_opened_by_the_user(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, "20MB")
    with pytest.raises(scorecam.PhotoError, match="limit is"):
        read_photo(Image.new(mode, (3000, 3000)))
    with pytest.raises(scorecam.PhotoError, match="limit is"):
        read_photo(np.zeros((3000, 3000, 3), np.uint8))


def test_gallery_entries_in_base64_must_be_jpegs() -> None:
    """A run's gallery holds base64; the decoded bytes are opened by the same module."""
    assert decodable(base64.b64decode(base64.b64encode(EPS))) is None
