"""A model's input from a file: a photo, or a file of numbers.

A photo is turned into an input by the model's preprocessing. A file of numbers, such as a NumPy
array, a TIFF of five bands or a DICOM image, is either normalised and resized in the same way, or
used as it is stored if the model has no preprocessing.
"""

from __future__ import annotations

import os
from typing import Any, cast

import numpy.typing as npt
from PIL import Image
from torch import Tensor

from scorecam.errors import PhotoError
from scorecam.images import photo as photos
from scorecam.images.arrays.array_file import ArrayFile, with_channels
from scorecam.images.arrays.bands import select_bands
from scorecam.images.arrays.opening import is_array_file, read_array, read_inputs
from scorecam.images.arrays.window import windowed
from scorecam.images.full_size import FullSize
from scorecam.images.pixels import rgb_picture
from scorecam.images.preprocess import Preprocess
from scorecam.images.preprocessing import Preprocessing
from scorecam.images.reading import AS_STATED, Reading, ReadInput

Source = str | os.PathLike[str] | Image.Image | npt.NDArray[Any]


def read_input(
    source: Source, preprocess: Preprocessing | None, reading: Reading = AS_STATED
) -> ReadInput:
    """The model's input from a photo or a file of numbers.

    Args:
        source: a file, a PIL image, or an array that is a photo (see `photo.read`).
        preprocess: the model's; None if there is none, so that only files of numbers can be read.

    Raises:
        PhotoError: the file cannot be read, or it does not suit the model.
        SettingError: it does not have these bands.
        MissingExtra: a library for this format is not installed.
    """
    if isinstance(source, str | os.PathLike) and (reading != AS_STATED or is_array_file(source)):
        return _from_array(read_array(source), preprocess, reading)
    if preprocess is None:
        raise PhotoError(
            "It is not known how to turn a photo into this model's input.",
            likely="The model was opened without preprocess=.",
            do='Use scorecam.open_model(net, preprocess="imagenet"), a JSON file, a '
            "scorecam.Preprocess or your own transform (--preprocess on the command line). In the "
            "folder of a model's file, preprocess.json is found without it. Or explain a tensor "
            "that is already preprocessed.",
        )
    stored = photos.read(source)
    remarks = *stored.remarks, *preprocess.remarks(stored.image.size)
    return ReadInput(preprocess(stored.image), stored.image, remarks)


def read_several(source: Any) -> dict[str, Tensor] | list[Tensor] | None:
    """The inputs of a network in a file of several arrays, by name; None for anything else.

    Arrays that `numpy.savez` has numbered, arr_0 and so on, are in order.

    Raises:
        PhotoError: the file cannot be read.
    """
    if not (isinstance(source, str | os.PathLike) and is_array_file(source)):
        return None
    inputs = read_inputs(cast("str | os.PathLike[str]", source))
    if inputs is None or sorted(inputs) != sorted(f"arr_{place}" for place in range(len(inputs))):
        return inputs
    return [inputs[f"arr_{place}"] for place in range(len(inputs))]


def _from_array(file: ArrayFile, preprocess: Preprocessing | None, reading: Reading) -> ReadInput:
    chosen = file if reading.bands is None else select_bands(file, reading.bands)
    if preprocess is None:
        scaled = chosen if reading.window is None else windowed(chosen, reading.window)
        return ReadInput(scaled.values, None, scaled.remarks, scaled.spacing)
    chosen = with_channels(chosen)
    if chosen.values.ndim != 3:
        raise PhotoError(
            f"{file.name} has the shape {tuple(file.values.shape)}, which is not a picture.",
            likely="It is a volume or a series, and the model's preprocessing is for photos.",
            do="To use the numbers as they are stored, leave out preprocess= (--preprocess).",
        )
    window = _window(chosen, reading)
    scaled = windowed(chosen, window)
    values = scaled.values
    picture, remarks = _picture(values, file.name)
    remarks += _levels(window or chosen.levels, file.name)
    if isinstance(preprocess, Preprocess | FullSize):
        image = preprocess.of_bands(_with_colours(values, len(preprocess.mean), file.name))
    elif len(values) in (1, 3):
        image = preprocess(picture)
    else:
        raise PhotoError(
            f"{file.name} has {len(values)} bands, and the transform takes photos of 1 or 3.",
            do="Choose bands: open_model(..., bands=(4, 3, 2)) (--bands 4,3,2).",
        )
    remarks = *scaled.remarks, *remarks, *preprocess.remarks(picture.size)
    return ReadInput(image, picture, remarks)


def _window(file: ArrayFile, reading: Reading) -> tuple[float, float] | None:
    """The values that become black and white; None for those that the file states, if any."""
    low, high = (float(value) for value in file.values.aminmax())
    if reading.window is None and file.levels is None and low >= 0 and high <= 1:
        return 0.0, 1.0
    return reading.window


def _levels(window: tuple[float, float] | None, name: str) -> tuple[str, ...]:
    """A remark on the values that became black and white, unless they are the usual ones."""
    if window is None or window in ((0, 1), (0, 255)):
        return ()
    return (f"In {name}, {window[0]:g} is black and {window[1]:g} is white.",)


def _with_colours(values: Tensor, colours: int, name: str) -> Tensor:
    """Bands as the model's colours: a single band serves for all of them.

    Raises:
        PhotoError: there is another number of bands.
    """
    if len(values) == colours:
        return values
    if len(values) == 1:
        return values.expand(colours, *values.shape[1:])
    do = ",".join(str(band) for band in range(1, colours + 1))
    raise PhotoError(
        f"{name} has {len(values)} bands, and the model takes {colours}.",
        likely="Its colours come last." if values.shape[-1] in (1, colours) else "",
        do="Save array.transpose(2, 0, 1)."
        if values.shape[-1] in (1, colours)
        else f"Choose bands, for example open_model(..., bands=({do.replace(',', ', ')},)) "
        f"(--bands {do}).",
    )


def _picture(values: Tensor, name: str) -> tuple[Image.Image, tuple[str, ...]]:
    """Bands in [0, 1] as an RGB picture, and a remark if it does not show all of them."""
    picture = rgb_picture(values)
    if len(values) in (1, 3):
        return picture, ()
    which = "bands 1, 2 and 3" if len(values) > 3 else "band 1"
    return picture, (f"The picture of {name} shows {which} of {len(values)}.",)
