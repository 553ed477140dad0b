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
`ScorecamError` is our bug. Whatever foreign text the paragraph quotes, it stays one paragraph of
visible characters, and short enough to be read.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final

from scorecam.base.wording import LONGEST_PARAGRAPH, one_line, quoted, shortened, summary

LONGEST_ERROR: Final = LONGEST_PARAGRAPH - 20
"""The most characters of an error's paragraph; a command puts its name before it."""

LONGEST_ADVICE: Final = 320
"""The most characters of what to try, which is never cut for the sake of the rest."""


class ScorecamError(Exception):
    """What happened, what probably caused it (`likely`), and what to try (`do`)."""

    def __init__(self, what: str, *, likely: str = "", do: str = "") -> None:
        what, likely, do = (one_line(part) for part in (what, likely, do))
        super().__init__(what, likely, do)
        self.what = what
        self.likely = likely
        self.do = do

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), self.what, likely=self.likely, do=self.do), ()

    @summary
    def __repr__(self) -> Iterator[str]:
        yield quoted(self.what, 150)
        yield f"likely={quoted(self.likely)}" if self.likely else ""
        yield f"do={quoted(self.do)}" if self.do else ""

    def __str__(self) -> str:
        parts = _fitting(self.what, self.likely, self.do)
        # A foreign library's words, often the end of a part, may lack the full stop.
        return " ".join(part if part[-1] in ".?!:" else f"{part}." for part in parts if part)


def _fitting(what: str, likely: str, do: str) -> tuple[str, str, str]:
    """The three parts, shortened where they are longer than one paragraph together."""
    room = LONGEST_ERROR - 6  # for the spaces and full stops between them
    if len(what) + len(likely) + len(do) <= room:
        return what, likely, do
    do = shortened(do, LONGEST_ADVICE)
    likely = shortened(likely, max(80, room - len(do) - len(what)))
    return shortened(what, room - len(do) - len(likely)), likely, do


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


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A sentence with the three `known` words nearest to `word`; empty when none is near.

    Case is ignored, and a word that contains the whole of `word` counts as near. Nothing is near
    to a word that is too long for one.
    """
    text = word if isinstance(word, str) else quoted(word)
    if len(text) > LONGEST_PARAGRAPH:
        return ""
    spelled = {name.casefold(): name for name in known}
    folded = text.casefold()
    inside = [name for name in spelled if folded and folded in name]
    near = inside + difflib.get_close_matches(folded, spelled, n=3, cutoff=0.6)
    names = list(dict.fromkeys(spelled[name] for name in near))[:3]
    if not names:
        return ""
    return "Did you mean " + " or ".join(quoted(name) for name in names) + "?"
