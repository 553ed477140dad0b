"""Choosing bands of a file. The first band is 1, as in GDAL and rasterio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scorecam.errors import PhotoError, SettingError
from scorecam.images.arrays.array_file import ArrayFile, with_channels
from scorecam.io.arguments import several
from scorecam.io.ranges import COUNT

_DO = "Give a list of bands, such as [4, 3, 2]. The first band is 1."


def select_bands(file: ArrayFile, bands: Sequence[int]) -> ArrayFile:
    """The file with only these bands, in this order; a band may be repeated.

    Args:
        file: its first axis holds the bands; see `with_channels`.
        bands: numbers from 1 on, as in GDAL and rasterio.

    Raises:
        SettingError: `bands` is not a list of whole numbers from 1 on.
        PhotoError: the file does not have one of the bands.
    """
    chosen = [COUNT.check("bands", band) for band in several("bands", bands, object, _DO)]
    if not chosen:
        raise SettingError("bands is empty.", do=_DO)
    whole = with_channels(file)
    there = whole.values.shape[0]
    if absent := [band for band in chosen if band > there]:
        has = f"{there} bands" if there > 1 else "1 band"
        raise PhotoError(
            f"{file.name} has no band {absent[0]}: it has {has}.",
            likely="The first band is 1, not 0.",
            do="Give bands=(1,) (--bands 1)." if there == 1 else f"Give numbers from 1 to {there}.",
        )
    return replace(whole, values=whole.values[[band - 1 for band in chosen]])
