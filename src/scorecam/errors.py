"""Everything that can go wrong because of what we were given.

    ScorecamError
    ├── PhotoError         a photo that cannot be read
    ├── ModelError         a model that cannot be opened, or will not answer
    │   └── WeightsError   weights that cannot be read or do not fit
    ├── LayerError         a layer that is not there, or has no grid
    ├── TargetError        a class that is not there, or a readout that does not fit
    ├── SettingError       an option with a value that makes no sense
    ├── DatasetError       a data set, or an annotation in it, that cannot be read
    ├── RunError           a run's folder that holds another run, or is damaged
    ├── BankError          a score bank that cannot be read, or lacks what was asked
    ├── OutputError        a result that cannot be written
    ├── MemoryShortage     not even one masked image fits into memory
    └── MissingExtra       an optional library that is not installed

Each carries one paragraph: what happened, what probably caused it, what to try; each is also the
built-in error it resembles (`TargetError` is a `ValueError`). Anything that is not a
`ScorecamError` is our bug.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import partial
from typing import Any


class ScorecamError(Exception):
    """What happened, what probably caused it (`likely`), and what to try (`do`)."""

    def __init__(self, what: str, *, likely: str = "", do: str = "") -> None:
        super().__init__(what, likely, do)
        self.what = what
        self.likely = likely
        self.do = do

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), self.what, likely=self.likely, do=self.do), ()

    def __str__(self) -> str:
        parts = (self.what, self.likely, self.do)
        # A foreign library's words, often the end of a part, may lack the full stop.
        return " ".join(part if part[-1] in ".?!:" else f"{part}." for part in parts if part)


class PhotoError(ScorecamError, ValueError):
    """A photo that cannot be read."""


class ModelError(ScorecamError, RuntimeError):
    """A model that cannot be opened, or will not answer."""


class WeightsError(ModelError):
    """Weights that cannot be read, or do not fit the model."""


class LayerError(ScorecamError, ValueError):
    """A layer that is not there, or whose output has no grid."""


class TargetError(ScorecamError, ValueError):
    """A class that is not there, or a readout that does not fit the output."""


class SettingError(ScorecamError, ValueError):
    """An option with a value that makes no sense."""


class BankError(ScorecamError, ValueError):
    """A score bank that cannot be read, or that lacks what was asked of it."""


class DatasetError(ScorecamError, ValueError):
    """A data set, or an annotation in it, that cannot be read."""


class RunError(ScorecamError, ValueError):
    """A run's folder that holds another run, or is damaged."""


class OutputError(ScorecamError, OSError):
    """A result that cannot be written."""


class MemoryShortage(ScorecamError, MemoryError):
    """Not even one masked image at a time fits into memory."""


class MissingExtra(ScorecamError, ImportError):
    """An optional library that is not installed."""


def excerpt(value: object, most: int = 100) -> str:
    """What a message quotes of a foreign value: printable, its middle left out where it is long."""
    text = str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def did_you_mean(word: str, known: Iterable[str], shown: int = 3) -> str:
    """A sentence with the `known` words nearest to `word`; empty when none is near.

    Case is ignored, and a word that contains the whole of `word` counts as near.
    """
    spelled = {name.casefold(): name for name in known}
    folded = word.casefold()
    inside = [name for name in spelled if folded and folded in name]
    near = inside + difflib.get_close_matches(folded, spelled, n=shown, cutoff=0.6)
    names = list(dict.fromkeys(spelled[name] for name in near))[:shown]
    if not names:
        return ""
    return "Did you mean " + " or ".join(repr(name) for name in names) + "?"
