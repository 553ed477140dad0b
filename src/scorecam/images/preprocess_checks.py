"""Checks of the values that make up a `Preprocess`."""

from __future__ import annotations

import math
from typing import cast

from scorecam.base.wording import quoted
from scorecam.errors import SettingError, did_you_mean
from scorecam.images.memory import MAX_PIXELS


def is_number(value: object) -> bool:
    """Whether a value is a number that is finite in float32."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e38 < value < 1e38


def check_choice(key: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not one of the choices."""
    if not (isinstance(value, str) and value in choices):
        do = did_you_mean(value, choices) or f"Choose one of {', '.join(choices)}."
        raise SettingError(f"`{key}` cannot be {quoted(value)}.", do=do)


def check_share(key: str, value: object, do: str, *, zero: bool = False) -> None:
    """Refuse anything but a number from 0 to 1; 0 itself is refused unless `zero`."""
    if not (is_number(value) and 0 <= cast(float, value) <= 1 and (value or zero)):
        interval = "[0, 1]" if zero else "(0, 1]"
        raise SettingError(f"`{key}` must be in {interval}; it is {quoted(value)}.", do=do)


def check_channels(channels: object, count: int) -> None:
    """Refuse an unknown order of the colours, and BGR for anything but three colours."""
    check_choice("channels", channels, ("rgb", "bgr"))
    if channels == "bgr" and count != 3:
        raise SettingError(
            f'`channels` is "bgr", but the length of `mean` is {count}.',
            likely="The model takes grey inputs or other bands, which have no such order.",
            do="Leave out `channels`, or give three numbers for `mean` and `std`.",
        )


def check_size(size: object) -> None:
    """Refuse anything but (height, width) of an image that is not too large."""
    sides = cast("tuple[object, ...]", size) if isinstance(size, tuple) else ()
    whole = [side for side in sides if isinstance(side, int) and not isinstance(side, bool)]
    if not (len(whole) == len(sides) == 2 and min(whole) > 0 and math.prod(whole) <= MAX_PIXELS):
        raise SettingError(
            f"`size` cannot be {quoted(size)}.",
            do=f"Give (height, width), whole numbers of at least 1; at most {MAX_PIXELS:,} pixels.",
        )


def check_colours(mean: object, std: object) -> None:
    """Refuse a mean and a standard deviation that are not one number per colour."""
    for key, values in (("mean", mean), ("std", std)):
        numbers = cast("tuple[float, ...]", values) if isinstance(values, tuple) else ()
        if not numbers or not all(map(is_number, numbers)):
            raise SettingError(
                f"`{key}` cannot be {quoted(values)}.",
                do="Give a tuple with a number for each colour or band: three for RGB, one for "
                "grey.",
            )
        if key == "mean" and not all(0 <= number <= 1 for number in numbers):
            raise SettingError(
                f"`mean` must be in [0, 1]; it is {quoted(numbers)}.",
                likely="It is for pixels in 0..255.",
                do="Divide `mean` and `std` by 255.",
            )
        if key == "std" and not all(number > 0 for number in numbers):
            raise SettingError(
                f"`std` must be greater than 0; it is {quoted(numbers)}.",
                do="Use 1 for no scaling.",
            )
    if len(cast("tuple[float, ...]", mean)) != len(cast("tuple[float, ...]", std)):
        raise SettingError(
            "`mean` and `std` differ in length.", do="Give one number of each per colour."
        )
