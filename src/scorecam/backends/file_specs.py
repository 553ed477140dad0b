"""Specs that are paths of files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def names_file(given: Any, prefix: str, suffixes: Sequence[str]) -> bool:
    """Whether a user's value names a file of a format, by suffix or a prefix such as `onnx:`."""
    if not isinstance(given, str | os.PathLike):
        return False
    text = os.fspath(given)
    if not isinstance(text, str):
        return False
    return text.startswith(f"{prefix}:") or text.lower().endswith(tuple(suffixes))


def path_in(given: str | os.PathLike[str], prefix: str) -> Path:
    """The path, without the prefix."""
    return Path(os.fspath(given).removeprefix(f"{prefix}:"))
