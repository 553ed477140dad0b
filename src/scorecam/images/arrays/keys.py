"""The key of one array in a file that holds several: `file.npz:name`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from scorecam.base.wording import excerpt, quoted
from scorecam.errors import PhotoError, did_you_mean

_LISTED: Final = 8
"""How many names an error lists."""


def refuse_key(name: str, key: str | None) -> None:
    """Refuse a key for a file that holds one array without a name.

    Raises:
        PhotoError: there is a key.
    """
    if key is not None:
        raise PhotoError(
            f"{name} holds one array without a name, so it has no {quoted(key)}.",
            do="Leave the key out.",
        )


def chosen(
    names: Sequence[str], key: str | None, file: str, *, likely: str = "", noun: str = "array"
) -> str:
    """The name of the array to read.

    Args:
        names: of the arrays in the file.
        key: the name that the user gave; None if there is only one array.
        file: the name of the file.
        likely: why it may hold several arrays, for the error.
        noun: what an array is called in errors.

    Raises:
        PhotoError: there is no array with this name, or there are several and no key.
    """
    listed = ", ".join(excerpt(name, 40) for name in names[:_LISTED])
    if len(names) > _LISTED:
        listed += f" and {len(names) - _LISTED:,} more"
    nouns = noun if noun.endswith("s") else f"{noun}s"
    if not names:
        raise PhotoError(f"{file} holds no {nouns}.", do=f"Save an {noun} in it.")
    if key is None:
        if len(names) == 1:
            return names[0]
        raise PhotoError(
            f"{file} holds {len(names):,} {nouns}: {listed}.",
            likely=likely,
            do=f"Choose one, for example {file}:{excerpt(names[0], 40)}.",
        )
    if key in names:
        return key
    raise PhotoError(
        f"{file} holds no {noun} {quoted(key)}. It holds {listed}.",
        likely=did_you_mean(key, names),
        do=f"Choose one, for example {file}:{excerpt(names[0], 40)}.",
    )
