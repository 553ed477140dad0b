"""Photos from wherever they come: files and PIL images of every mode, and arrays.

What comes out is the photo as its owner knows it: an upright RGB `PIL.Image`; and remarks on what
of the source is not in it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageFile

from scorecam.base.process import quietly
from scorecam.errors import PhotoError, did_you_mean
from scorecam.images.memory import MAX_PIXELS, check_memory, check_needed, check_pixels
from scorecam.images.opening import PHOTO, Accepts, Opened, metadata_is_huge, opened, orientation
from scorecam.images.tiff import MOST_PAGES

__all__ = ["ACCEPTS", "MAX_PIXELS", "read", "read_photo", "ReadPhoto"]

Source = str | os.PathLike[str] | Image.Image | npt.NDArray[Any]
Box = tuple[int, int, int, int]

ACCEPTS: Final = Accepts("a photo", PHOTO, PhotoError)

_TILE = 512
"""Pixels a side of the parts in which a photo is converted, so that no whole copies are made."""

_BITS = (8, 10, 12)
"""Depths of greys in 16 bits that are far too dark to be a photo's full 16."""

_DARK = 16
"""The least value of 8 bits that 16-bit colours reach unless they hold 12 bits or fewer."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation."""


@dataclass(frozen=True)
class ReadPhoto:
    """A photo, and what its owner should know of how it was read.

    Args:
        image: RGB and upright.
        remarks: what was left out of it, or changed; sentences.
    """

    image: Image.Image
    remarks: tuple[str, ...] = ()


def read_photo(source: Source) -> Image.Image:
    """The photo as an RGB image of its own, upright; see `read`, which also gives remarks."""
    return read(source).image


def read(source: Source) -> ReadPhoto:
    """The photo as an RGB image of its own, upright: its EXIF orientation has been applied.

    Files and PIL images may have any mode. Transparent parts become white. Of several frames or
    pages the first is taken, but a stack of grey pages of one size is refused: they may be bands.
    Greys of 16 bits keep their full scale, unless they end below 4096: then they are read as 8, 10
    or 12 bits. 32-bit integers are read as 16-bit where they fit there, floats as [0, 1] where they
    fit there, and are otherwise stretched from the least to the greatest. Colour profiles are not
    applied, as in the usual training pipelines. Whatever is not read as it is stored is said in a
    remark. Arrays are uint8 in 0..255 or float in [0, 1], shaped (height, width, 3) or
    (height, width).

    Raises:
        PhotoError: the source cannot be read, has more than `MAX_PIXELS`, or would take more memory
            than the limit (1 GiB, or what SCORECAM_PHOTO_MEMORY says); both are decided from the
            header, before anything is decoded.
        SettingError: SCORECAM_PHOTO_MEMORY is not an amount of memory.
    """
    if isinstance(source, np.ndarray):
        return ReadPhoto(_from_array(np.asarray(source)))
    if isinstance(source, Image.Image):
        return _from_image(source)
    try:
        path = Path(source)
    except TypeError:
        raise PhotoError(
            f"A photo cannot be read from an object of type {type(source).__name__}.",
            do="Give the path of a file, a PIL image, or a numpy array (height, width, 3).",
        ) from None
    try:
        with opened(path, ACCEPTS) as found:
            remarks = _not_shown(found, path)
            return _decoded(found.image, path.name, remarks, own=True)
    except PhotoError as error:
        if isinstance(error.__cause__, OSError | ValueError):
            _explain(path, error)
        raise


# ── files ────────────────────────────────────────────────────────────────────────────────────


def _explain(path: Path, error: PhotoError) -> NoReturn:
    """Say more of a file that cannot be opened, or the same."""
    cause = error.__cause__
    if isinstance(cause, PermissionError):
        raise PhotoError(
            f"{path} may not be read by this user.",
            likely="It belongs to someone else.",
            do="Change its permissions, or copy it to a folder of your own.",
        ) from cause
    if not isinstance(cause, FileNotFoundError | NotADirectoryError):
        raise error
    if str(path).startswith(("http:/", "https:/")):
        raise PhotoError(
            "A photo is read from a file, not from a web address.", do="Save it first."
        ) from cause
    near = ""
    if path.parent.is_dir():
        near = did_you_mean(path.name, (entry.name for entry in path.parent.iterdir()))
    raise PhotoError(
        f"There is no file {path}.",
        likely="Its name is misspelled, or its path starts from another folder.",
        do=near or f"Paths start from {Path.cwd()}.",
    ) from cause


def _not_shown(found: Opened, path: Path) -> list[str]:
    """What a file holds beside the picture that is read.

    Raises:
        PhotoError: it is not clear which picture of the file is the photo.
    """
    image, name = found.image, path.name
    if image.format == "TIFF":
        return _pages_not_shown(found, path)
    # MPO is left out: phones put a smaller picture or a depth map behind each photo.
    if image.format in {"AVIF", "GIF", "PNG", "WEBP"} and getattr(image, "is_animated", False):
        return [f"{name} has several frames; only the first is read."]
    return []


def _pages_not_shown(found: Opened, path: Path) -> list[str]:
    if not found.pages:
        return []
    first, name = found.pages[0], path.name
    others = [page for page in found.pages[1:] if not page.reduced]
    alike = [page for page in others if (page.width, page.height) == (first.width, first.height)]
    if alike and first.bands == 1 and first.bits > 1 and found.image.mode != "P":
        raise PhotoError(
            f"{path} holds {len(alike) + 1}{'' if len(found.pages) < MOST_PAGES else ' or more'} "
            f"grey pages of {first.width} × {first.height} pixels.",
            likely="They are the bands of one picture, the slices of a volume, or a series; the "
            "first alone would not be what you mean.",
            do="Load it with tifffile.imread, choose one page or three bands, scale them to "
            "[0, 1], and pass the array.",
        )
    remarks: list[str] = []
    if others:
        remarks.append(f"{name} has several pages; only the first is read.")
    shown = len(found.image.getbands())
    if first.bands > shown:
        remarks.append(f"{name} has {first.bands} bands; only the first {shown} are read.")
    return remarks


# ── images ───────────────────────────────────────────────────────────────────────────────────


def _from_image(image: Image.Image) -> ReadPhoto:
    """From what someone else has opened, and may not have decoded."""
    name = "The image"
    check_pixels(image.width, image.height, name, PhotoError)
    pending = isinstance(image, ImageFile.StubImageFile) or bool(getattr(image, "tile", None))
    if image.format == "EPS" or (pending and image.format not in {*PHOTO, "MPO"}):
        raise PhotoError(
            f"{name} is of the format {image.format}, which is not decoded here.",
            likely="It is a PostScript drawing." if image.format == "EPS" else "",
            do="Export it as PNG first, or give image.convert('RGB').",
        )
    check_memory(image, name, PhotoError, 0)
    try:
        with quietly():  # Pillow warns of odd metadata
            return _decoded(image, name, [], own=False)
    except PhotoError:
        raise
    except Exception as error:  # a damaged file raises what the reader of its format happens to
        raise PhotoError(
            f"{name} cannot be decoded: {error or type(error).__name__}.",
            likely="It, or the file it comes from, was closed; or the file is cut short or "
            "damaged.",
            do="Give the path of the file.",
        ) from error


def _decoded(image: Image.Image, name: str, remarks: list[str], *, own: bool) -> ReadPhoto:
    """The image in RGB and upright.

    Args:
        own: whether its memory may be freed once it is converted.
    """
    deep = _has_sixteen_bits(image)
    image.load()
    if metadata_is_huge(image):
        remarks.append(f"{name} has so much EXIF metadata that its orientation is not looked for.")
    turn = _UPRIGHT.get(orientation(image))
    rgb, remark = _rgb(image, name)
    if remark:
        remarks.append(remark)
    elif deep and image.mode in {"RGB", "RGBA"} and (brightest := _brightest(image)) < _DARK:
        remarks.append(_dark_colours(name, brightest))
    if own:
        image.close()
    upright = rgb if turn is None else rgb.transpose(turn)
    upright.info.clear()  # if the orientation stayed, whoever reads this next would turn it again
    return ReadPhoto(upright, tuple(remarks))


def _has_sixteen_bits(image: Image.Image) -> bool:
    """Whether the samples of an image that is not decoded yet have 16 bits in its file."""
    tiles: Any = getattr(image, "tile", None)
    if not tiles:
        return False
    how = tiles[0][3]
    return ";16" in str(how[0] if isinstance(how, tuple) and how else how)


def _rgb(image: Image.Image, name: str) -> tuple[Image.Image, str]:
    """A copy in RGB, whatever mode the image was decoded to; and a remark, or nothing."""
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bit(image, name)
    if image.mode == "LAB":
        cms: Any = ImageCms  # its profiles have no types
        lab, srgb = cms.createProfile("LAB"), cms.createProfile("sRGB")
        return cms.profileToProfile(image, lab, srgb, outputMode="RGB"), ""
    if not image.has_transparency_data:
        return image.convert("RGB"), ""
    rgb = Image.new("RGB", image.size)
    for box in _tiles(image.size):
        part = image.crop(box)
        straight = part.convert("LA") if part.mode == "La" else part
        white = Image.new("RGBA", part.size, "white")
        shown = Image.alpha_composite(white, straight.convert("RGBA"))
        rgb.paste(shown.convert("RGB"), box)
    return rgb, ""


def _tiles(size: tuple[int, int]) -> Iterator[Box]:
    """Boxes that cover an image."""
    width, height = size
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            yield left, top, min(left + _TILE, width), min(top + _TILE, height)


def _brightest(image: Image.Image) -> int:
    """The largest value of a colour; at least `_DARK` where it is not below."""
    brightest = 0
    for box in _tiles(image.size):
        extrema: Any = image.crop(box).getextrema()
        brightest = max(brightest, *(int(high) for _, high in extrema[:3]))
        if brightest >= _DARK:
            break
    return brightest


def _dark_colours(name: str, brightest: int) -> str:
    return (
        f"{name} is nearly black: its 16-bit colours end at {brightest} of 255. If they hold fewer "
        "than 16 bits, load them with tifffile or OpenCV, scale them to [0, 1], and pass the array."
    )


# ── greys of more than 8 bits ────────────────────────────────────────────────────────────────


def _eight_bit(grey: Image.Image, name: str) -> tuple[Image.Image, str]:
    """Greys of more than 8 bits, brought from their full scale (see `read`) to 0..255."""
    low, high = _extrema(grey)
    low, high, remark = _scale(low, high, 1 if grey.mode == "F" else 65535, name)
    beyond = math.nextafter(high, math.inf)  # a flat image has no range
    rgb = Image.new("RGB", grey.size)
    for box in _tiles(grey.size):
        part = np.interp(np.asarray(grey.crop(box)), (low, beyond), (0, 255))
        rgb.paste(Image.fromarray(part.round().astype(np.uint8)).convert("RGB"), box)
    return rgb, remark


def _extrema(grey: Image.Image) -> tuple[float, float]:
    low, high = math.inf, -math.inf
    for box in _tiles(grey.size):
        part = np.asarray(grey.crop(box))
        if not np.isfinite(part).all():
            raise ValueError("some pixels are not finite numbers")
        low, high = min(low, float(part.min())), max(high, float(part.max()))
    return low, high


def _scale(low: float, high: float, full: int, name: str) -> tuple[float, float, str]:
    """What becomes black and what becomes white, and what is to be said of it.

    Args:
        full: 1 for floats, 65535 for whole numbers.
    """
    if low < 0 or high > full:
        said = f"{name} holds values from {low:.6g} to {high:.6g}, stretched from black to white."
        return low, high, said
    if full == 1 or not 0 < high < 2**14:
        return 0, full, ""
    for bits in _BITS:
        if high < 2**bits:
            white = 2**bits - 1
            said = f"{name} has 16-bit greys that end at {high:.0f}; they are read as {bits} bits"
            return 0, white, f"{said}, so that {white} is white."
    said = f"{name} is dark: its 16-bit greys end at {high:.0f} of {full}."
    return 0, full, f"{said} If they hold fewer bits, scale them to [0, 1] and pass the array."


# ── arrays ───────────────────────────────────────────────────────────────────────────────────


def _from_array(array: npt.NDArray[Any]) -> Image.Image:
    what = f"An array of shape {array.shape} and dtype {array.dtype!s:.60} is not a photo"
    do = "Give uint8 in 0..255 or float in [0, 1], shaped (height, width, 3) or (height, width)."
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
        first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        likely = "Its colours come first; array.transpose(1, 2, 0) puts them last." if first else ""
        raise PhotoError(f"{what}.", likely=likely, do=do)
    if array.size == 0:
        raise PhotoError(f"{what}: it has no pixels.", do=do)
    check_pixels(array.shape[1], array.shape[0], "The array", PhotoError)
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):  # NaN is neither
            likely = f"Its values run from {low:.4g} to {high:.4g}."
            raise PhotoError(f"{what}: floats must lie in [0, 1].", likely=likely, do=do)
    elif array.dtype != np.uint8:
        raise PhotoError(f"{what}: its dtype leaves open what is white.", do=do)
    size = array.shape[1], array.shape[0]
    check_needed(size, int(4.0 * size[0] * size[1]), "The array", PhotoError)
    photo = Image.new("RGB", size)
    for box in _tiles(photo.size):
        left, top, right, bottom = box
        part = array[top:bottom, left:right]
        if part.dtype.kind == "f":
            part = (part * 255.0).round().astype(np.uint8)
        photo.paste(Image.fromarray(np.ascontiguousarray(part)).convert("RGB"), box)
    return photo
