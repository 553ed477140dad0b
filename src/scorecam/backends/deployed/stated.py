"""What a file states about preprocessing, and the input that the network itself states.

Readers of sources return None if there is nothing, and raise ValueError with the reason if it
cannot be used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from scorecam.base.wording import quoted
from scorecam.images.preprocess import Preprocess

LONGEST_VALUE = 2**22
"""The most characters of a value in the metadata."""


@dataclass(frozen=True)
class NetworkInput:
    """What the network states about its input.

    Args:
        size: (height, width); None if they are not fixed.
        colours: the number of channels; None if it is not fixed.
    """

    size: tuple[int, int] | None = None
    colours: int | None = None


@dataclass(frozen=True)
class Stated:
    """A preprocessing that was found.

    Args:
        preprocess: the preprocessing.
        remarks: sentences on what of it is uncertain or was changed.
    """

    preprocess: Preprocess
    remarks: tuple[str, ...] = ()


def text_of(value: str) -> str:
    """A value of the metadata, without white space around it.

    Raises:
        ValueError: it is too long.
    """
    if len(value) > LONGEST_VALUE:
        raise ValueError(f"a value has more than {LONGEST_VALUE:,} characters")
    return value.strip()


def known_size(own: tuple[int, int] | None, given: NetworkInput) -> tuple[int, int]:
    """The size of the input; that of the network, if it is fixed.

    Args:
        own: the size in the source, if any.

    Raises:
        ValueError: neither states it.
    """
    size = given.size or own
    if size is None:
        raise ValueError("neither it nor the network states the size of the input")
    return size


def fitted(preprocess: Preprocess, given: NetworkInput) -> Stated:
    """A preprocessing for the input of the network, with a remark if its size was changed.

    Raises:
        ValueError: it is for another number of colours.
    """
    colours = len(preprocess.mean)
    if given.colours not in (None, colours):
        raise ValueError(f"it has {colours} colours, and the network takes {given.colours}")
    if given.size in (None, preprocess.size):
        return Stated(preprocess)
    stated, taken = (f"{height} × {width}" for height, width in (preprocess.size, given.size))
    remark = (
        f"The preprocessing states an input of {stated} pixels (height × width), but the network "
        f"takes {taken}. {taken} is used."
    )
    return Stated(replace(preprocess, size=given.size), (remark,))


def number_of(key: str, text: str) -> float:
    """A number in the metadata.

    Raises:
        ValueError: it is not a number.
    """
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{key} cannot be {quoted(text)}") from None
