"""Photos from wherever they come: files and PIL images of every mode, and arrays.

What comes out is the photo as its owner knows it: an upright RGB `PIL.Image`.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from scorecam.errors import PhotoError, did_you_mean
from scorecam.process import quietly

MAX_PIXELS: Final = 178_956_970
"""The largest photo that is read, in pixels: the hard limit that Pillow comes with."""

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

_DAMAGED = (
    "The file is cut short or damaged, as after an interrupted download or copy.",
    "Fetch it again, or open it in an image editor and save it as PNG.",
)

_NOT_PHOTOS = {
    b"<svg": ("It is an SVG drawing.", "Export it as PNG first."),
    b"<?xml": ("It is an XML file, perhaps an SVG drawing.", "Export the drawing as PNG first."),
    b"%pdf": ("It is a PDF document.", "Save the page, or the picture in it, as PNG first."),
    b"%!ps": ("It is a PostScript drawing.", "Export it as PNG first."),
    b"<!doctype": ("It is a web page, perhaps an error page saved as a photo.", "Fetch it again."),
    b"<html": ("It is a web page, perhaps an error page saved as a photo.", "Fetch it again."),
    b"pk\x03\x04": ("It is a zip archive or an office document.", "Take the photo out of it."),
    b"\x89png": _DAMAGED,
    b"\xff\xd8\xff": _DAMAGED,
    b"gif8": _DAMAGED,
}
"""How files begin that are no photos, in lower case; what is likely, and what to do."""


def read_photo(
    source: str | os.PathLike[str] | Image.Image | npt.NDArray[Any],
) -> Image.Image:
    """The photo as an RGB image of its own, upright: its EXIF orientation has been applied.

    Files and PIL images may have any mode. Transparent parts become white; of several frames the
    first is taken; 16-bit greys keep their full scale; 32-bit integers are read as 16-bit where
    they fit there, floats as [0, 1] where they fit there, and are otherwise stretched from the
    least to the greatest. Colour profiles are not applied, as in the usual training pipelines.
    Arrays are uint8 in 0..255 or float in [0, 1], shaped (height, width, 3) or (height, width).

    Raises:
        PhotoError: the source cannot be read, or has more than `MAX_PIXELS`; the latter is decided
            from the header, before anything is decoded.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _decoded(source, "The image")
    try:
        path = Path(source)
    except TypeError:
        raise PhotoError(
            f"A photo cannot be read from an object of type {type(source).__name__}.",
            do="Give the path of a file, a PIL image, or a numpy array (height, width, 3).",
        ) from None
    # Pillow remarks on large sizes and odd metadata.
    with quietly(), _opened(path) as image:
        return _decoded(image, str(path))


def _opened(path: Path) -> Image.Image:
    """The image with its header read and nothing decoded."""
    try:
        return Image.open(path)
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(path) from None
    except (IsADirectoryError, PermissionError):
        if path.is_dir():
            raise PhotoError(f"{path} is a folder.", do="Name the photo in it.") from None
        raise PhotoError(
            f"{path} may not be read by this user.",
            likely="It belongs to someone else.",
            do="Change its permissions, or copy it to a folder of your own.",
        ) from None
    except Image.DecompressionBombError:
        raise _too_large(str(path)) from None
    except UnidentifiedImageError:
        raise _no_photo(path) from None
    except Exception as error:  # a malformed name or header raises what it happens to
        likely = "Its name is impossible, or its content is damaged."
        raise PhotoError(f"{path} cannot be opened: {error}.", likely=likely) from error


def _missing(path: Path) -> PhotoError:
    if str(path).startswith(("http:/", "https:/")):
        return PhotoError(
            "A photo is read from a file, not from a web address.", do="Save it first."
        )
    near = ""
    if path.parent.is_dir():
        near = did_you_mean(path.name, (entry.name for entry in path.parent.iterdir()))
    return PhotoError(
        f"There is no file {path}.",
        likely="Its name is misspelled, or its path starts from another folder.",
        do=near or f"Paths start from {Path.cwd()}.",
    )


def _no_photo(path: Path) -> PhotoError:
    with path.open("rb") as file:
        head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return PhotoError(f"{path} is empty.", likely=_DAMAGED[0], do="Fetch it again.")
    likely, do = "It is of another kind than its name says, or damaged.", "Save it as PNG or JPEG."
    if head[4:8] == b"ftyp":
        likely = "It is a HEIC photo, as phones make them, or a video."
        do = "Save it as JPEG, or install pillow-heif and call its register_heif_opener() first."
    for beginning, words in _NOT_PHOTOS.items():
        if head.startswith(beginning):
            likely, do = words
    return PhotoError(f"{path} is not a photo that can be read.", likely=likely, do=do)


def _too_large(name: str) -> PhotoError:
    return PhotoError(
        f"{name} has more than {MAX_PIXELS:,} pixels.",
        likely="It is a scan, a map or a panorama, or a file made to exhaust memory.",
        do="Cut out or scale down the part that matters.",
    )


def _decoded(image: Image.Image, name: str) -> Image.Image:
    """The image in RGB and upright, once its header shows that decoding it is safe."""
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name)
    if not (image.width and image.height):
        raise PhotoError(f"{name} is {image.width} × {image.height}: it has no pixels.")
    if image.format == "EPS":  # Pillow would run Ghostscript on it
        likely, do = _NOT_PHOTOS[b"%!ps"]
        raise PhotoError(f"{name} is not a photo.", likely=likely, do=do)
    try:
        image.load()
        rgb = _rgb(image)
    except Exception as error:  # a damaged file raises what the reader of its format happens to
        likely, do = _DAMAGED
        raise PhotoError(f"{name} cannot be decoded: {error}.", likely=likely, do=do) from error
    turn = _UPRIGHT.get(_orientation(image))
    upright = rgb if turn is None else rgb.transpose(turn)
    upright.info.clear()  # if the orientation stayed, whoever reads this next would turn it again
    return upright


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001  damaged metadata is no reason to refuse a photo
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    """A copy in RGB, whatever mode the image was decoded to."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bit(np.asarray(image))).convert("RGB")
    if image.mode == "LAB":
        cms: Any = ImageCms  # its profiles have no types
        lab, srgb = cms.createProfile("LAB"), cms.createProfile("sRGB")
        return cms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if image.has_transparency_data:
        straight = image.convert("LA") if image.mode == "La" else image
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, straight.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _eight_bit(grey: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Greys of more than 8 bits, brought from their full scale (see `read_photo`) to 0..255."""
    if not np.isfinite(grey).all():
        raise ValueError("some pixels are not finite numbers")
    full = 1 if grey.dtype.kind == "f" else 65535
    low, high = float(grey.min()), float(grey.max())
    if low >= 0 and high <= full:
        low, high = 0, full
    beyond = math.nextafter(high, math.inf)  # a flat image has no range
    return np.interp(grey, (low, beyond), (0, 255)).round().astype(np.uint8)


def _from_array(array: npt.NDArray[Any]) -> Image.Image:
    what = f"An array of shape {array.shape} and dtype {array.dtype} is not a photo"
    do = "Give uint8 in 0..255 or float in [0, 1], shaped (height, width, 3) or (height, width)."
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
        first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        likely = "Its colours come first; array.transpose(1, 2, 0) puts them last." if first else ""
        raise PhotoError(f"{what}.", likely=likely, do=do)
    if array.size == 0:
        raise PhotoError(f"{what}: it has no pixels.", do=do)
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise _too_large("The array")
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):  # NaN is neither
            likely = f"Its values run from {low:.4g} to {high:.4g}."
            raise PhotoError(f"{what}: floats must lie in [0, 1].", likely=likely, do=do)
        array = (array * 255.0).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise PhotoError(f"{what}: its dtype leaves open what is white.", do=do)
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")
