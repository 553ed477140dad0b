"""Recognise files that are not photos by their first bytes and name, and advise what to do."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final

from scorecam.images import tiff

Words = tuple[str, str]
"""What the file probably is, and what to do."""

HEAD: Final = 512
"""How many of the first bytes are read to recognise a file."""

DAMAGED: Final = (
    "The file is cut short or damaged, for example by an interrupted download or copy.",
    "Download it again, or open it in an image editor and save it as PNG.",
)

_ARRAY = "pass the array: (height, width, 3), uint8 in 0..255 or float in [0, 1]."
_AS_PNG = "Export it as PNG first."
_FRAME = "Save a frame of it as PNG, for example with `ffmpeg -i FILE -frames:v 1 frame.png`."
_DEVELOP = "Develop it to JPEG or TIFF with a raw converter, such as rawpy or darktable."
_EXTRACT = "Extract the photo from it."
_UNPACK = "Unpack it first."
_DRAWING = ("It is a PostScript drawing.", _AS_PNG)
_WEB = ("It is a web page, perhaps an error page saved as a photo.", "Download it again.")
_VIDEO = ("It is a video.", _FRAME)
RAW: Final = ("It is a camera's raw file.", _DEVELOP)
_HEIC = (
    "It is a HEIC photo, probably from a phone.",
    "Save it as JPEG, or install pillow-heif and call its register_heif_opener() first.",
)
_NIFTI = (
    "It is a NIfTI volume.",
    f"Load it with nibabel, choose a slice, scale it to [0, 1], and {_ARRAY}",
)
_DICOM = (
    "It is a DICOM file.",
    f"Load it with pydicom (dcmread(path).pixel_array), scale it to [0, 1], and {_ARRAY}",
)
_NUMPY = ("It is a NumPy array file.", f"Load it with numpy.load, and {_ARRAY}")
_HDF5 = ("It is an HDF5 file.", f"Load the picture in it with h5py, and {_ARRAY}")
_MATLAB = (
    "It is a MATLAB file.",
    f"Load it with scipy.io.loadmat (h5py from version 7.3 on), and {_ARRAY}",
)
_TENSORS = (
    "It is a safetensors file: a score bank, or a network's weights.",
    "Show a bank with `scorecam show`; give weights as --weights.",
)
_WEIGHTS = ("It holds tensors or a network's weights.", "Give weights as --weights.")
_WIDE = f"Load it with imageio or OpenCV, scale it to [0, 1], and {_ARRAY}"

_BEGINNINGS: Final[dict[bytes, Words]] = {
    b"<svg": ("It is an SVG drawing.", _AS_PNG),
    b"<?xml": ("It is an XML file, perhaps an SVG drawing.", "Export the drawing as PNG first."),
    b"%pdf": ("It is a PDF document.", "Save the page, or the picture in it, as PNG first."),
    b"%!ps": _DRAWING,
    b"\xc5\xd0\xd3\xc6": _DRAWING,
    b"<!doctype": _WEB,
    b"<html": _WEB,
    b"\x93numpy": _NUMPY,
    b"\x89hdf\r\n\x1a\n": _HDF5,
    b"matlab ": _MATLAB,
    b"simple  =": ("It is a FITS file.", f"Load it with astropy, scale it to [0, 1], and {_ARRAY}"),
    b"8bps": ("It is a Photoshop document.", _AS_PNG),
    b"gimp xcf": ("It is a GIMP document.", _AS_PNG),
    b"v/1\x01": ("It is an OpenEXR picture.", _WIDE),
    b"#?radiance": ("It is a Radiance picture.", _WIDE),
    b"\xff\x0a": ("It is a JPEG XL photo.", "Convert it to PNG first."),
    b"\0\0\0\x0cjxl ": ("It is a JPEG XL photo.", "Convert it to PNG first."),
    b"\xd7\xcd\xc6\x9a": ("It is a Windows metafile, a drawing.", _AS_PNG),
    b"\0\0\x01\0": ("It is an icon.", _AS_PNG),
    b"icns": ("It is an icon.", _AS_PNG),
    b"dds ": ("It is a texture.", _AS_PNG),
    b"\x1ae\xdf\xa3": _VIDEO,
    b"\0\0\x01\xba": _VIDEO,
    b"\0\0\x01\xb3": _VIDEO,
    b"flv\x01": _VIDEO,
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": _VIDEO,
    b"fujifilmccd-raw": RAW,
    b"fovb": RAW,
    b"\0mrm": RAW,
    b"iiro": RAW,
    b"iirs": RAW,
    b"iiu\0": RAW,
    b"7z\xbc\xaf\x27\x1c": ("It is a 7z archive.", _EXTRACT),
    b"rar!\x1a": ("It is a RAR archive.", _EXTRACT),
    b"\x1f\x8b": ("It is compressed with gzip.", _UNPACK),
    b"bzh": ("It is compressed with bzip2.", _UNPACK),
    b"\xfd7zxz": ("It is compressed with xz.", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("It is compressed with Zstandard.", _UNPACK),
    b"par1": ("It is a Parquet table.", f"Load the picture in it, and {_ARRAY}"),
}
"""Files that are not photos, by their first bytes in lower case."""

_INSIDE: Final[tuple[tuple[int, bytes, Words], ...]] = (
    (128, b"DICM", _DICOM),
    (344, b"n+1\0", _NIFTI),
    (344, b"ni1\0", _NIFTI),
    (4, b"n+2\0", _NIFTI),
    (8, b"AVI ", _VIDEO),
    (8, b'{"', _TENSORS),
)
"""Files that are not photos, by bytes at another position: position, bytes, and description."""

_ZIP, _GZIP = b"PK\x03\x04", b"\x1f\x8b"

_ZIPPED: Final[dict[str, Words]] = {
    ".npz": ("It holds NumPy arrays.", f"Load one of them with numpy.load, and {_ARRAY}"),
    **dict.fromkeys((".pt", ".pth", ".ckpt"), _WEIGHTS),
}

PHOTO_BEGINNINGS: Final = (b"\x89png", b"\xff\xd8\xff", b"gif8", b"riff", b"bm", b"\0\0\0\x0cjp  ")
"""First bytes of photos; a file that starts with them but cannot be read is damaged."""

_RAW_KINDS = "3fr arw cr2 dcr dng erf iiq k25 kdc nef nrw pef sr2 srf srw"
_RAW_SUFFIXES: Final = frozenset(f".{kind}" for kind in _RAW_KINDS.split())
"""Raw files that start like TIFF files; Pillow would read a small preview from them."""

_FTYP: Final[dict[str, Words]] = {
    **dict.fromkeys(("heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"), _HEIC),
    **dict.fromkeys(("avif", "avis"), DAMAGED),
    "crx ": RAW,
}
"""Files of the MP4 family by brand; all other brands are videos."""


def describe_non_photo(name: str, head: bytes) -> Words | None:
    """Describe a file that is certainly not a photo; None if it may be one.

    Args:
        name: of the file.
        head: its first `HEAD` bytes.
    """
    suffix = PurePath(name).suffix.lower()
    if head.startswith(tiff.BEGINNINGS):
        return RAW if suffix in _RAW_SUFFIXES or head[8:10] == b"CR" else None
    if head[4:8] == b"ftyp":
        words = _brand(head)
        return None if words in {_HEIC, DAMAGED} else words
    if head.startswith(_GZIP) and name.lower().endswith(".nii.gz"):
        return _NIFTI
    if head.startswith(_ZIP):
        return _ZIPPED.get(suffix, ("It is a zip archive or an office document.", _EXTRACT))
    start = _start(head)
    matches = [words for place, signature, words in _INSIDE if head[place:].startswith(signature)]
    matches += [words for signature, words in _BEGINNINGS.items() if start.startswith(signature)]
    return matches[0] if matches else None


def describe_unreadable(name: str, head: bytes, pages: tuple[tiff.TiffPage, ...] = ()) -> Words:
    """Describe a file that no accepted format could read.

    Args:
        name: of the file.
        head: its first `HEAD` bytes.
        pages: of a TIFF file.
    """
    if words := describe_non_photo(name, head):
        return words
    if head[4:8] == b"ftyp":
        return _brand(head)
    if head.startswith(tiff.BEGINNINGS):
        return _tiff(pages)
    if _start(head).startswith(PHOTO_BEGINNINGS):
        return DAMAGED
    suffix = PurePath(name).suffix.lower()
    known = {".dcm": _DICOM, ".mat": _MATLAB, ".npy": _NUMPY}
    if suffix in known:
        return known[suffix][0].removesuffix(".") + ", or has its suffix.", known[suffix][1]
    return "Its format is not supported, or it is damaged.", "Save it as PNG or JPEG."


def _start(head: bytes) -> bytes:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()


def _brand(head: bytes) -> Words:
    """Describe a file of the MP4 family."""
    return _FTYP.get(head[8:12].decode("latin-1"), _VIDEO)


def _tiff(pages: tuple[tiff.TiffPage, ...]) -> Words:
    if not pages:
        return DAMAGED
    first = pages[0]
    bands = f"{first.bands} band" + ("s" if first.bands > 1 else "")
    what = f"It is a TIFF file with {bands} of {first.bits} bits"
    return (
        f"{what}, in the compression {first.compression}; or it is damaged.",
        f"Load it with tifffile or rasterio, choose bands, scale them to [0, 1], and {_ARRAY}",
    )
