"""Class names from the metadata of files that were converted from PaddlePaddle."""

from __future__ import annotations

from collections.abc import Mapping

from scorecam.backends.deployed.stated import text_of


def names_of(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """The class names in `character`, one per line; None if there are none.

    Raises:
        ValueError: they cannot be read.
    """
    text = text_of(metadata.get("character", ""))
    return tuple(text.splitlines()) if text else None
