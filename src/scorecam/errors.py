"""The errors that users can cause and fix.

    ScorecamError
    ├── PhotoError         a photo that cannot be read
    ├── ModelError         a model that cannot be opened, or fails
    │   └── WeightsError   weights that cannot be read or do not fit
    ├── LayerError         a layer that does not exist, or has no grid
    ├── TargetError        a class that does not exist, or a readout that does not fit
    ├── SettingError       an option with an invalid value
    ├── DatasetError       a data set, or an annotation in it, that cannot be read
    ├── RunError           a run folder that contains another run, or is damaged
    ├── BankError          a score bank that cannot be read, or lacks data
    ├── OutputError        a result that cannot be written
    ├── MemoryShortage     not even one masked image fits into memory
    └── MissingExtra       an optional library that is not installed

Each has a message of one paragraph: what happened, the likely cause, and what to do. Each is also
a built-in exception (`TargetError` is a `ValueError`). Any other exception is a bug of this
package. The message stays short and visible, whatever foreign text it quotes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final

from scorecam.base.wording import LONGEST_PARAGRAPH, one_line, quoted, shortened, summary

LONGEST_ERROR: Final = LONGEST_PARAGRAPH - 20
"""The most characters of a message; commands print their name before it."""

LONGEST_ADVICE: Final = 320
"""The most characters of the advice, which is never shortened in favour of the rest."""


class ScorecamError(Exception):
    """What happened, the likely cause (`likely`), and what to do (`do`)."""

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
        # A part may end with the message of another library, without a full stop.
        return " ".join(part if part[-1] in ".?!:" else f"{part}." for part in parts if part)


def _fitting(what: str, likely: str, do: str) -> tuple[str, str, str]:
    """The three parts, shortened if they are too long together."""
    room = LONGEST_ERROR - 6  # for the spaces and full stops between them
    if len(what) + len(likely) + len(do) <= room:
        return what, likely, do
    do = shortened(do, LONGEST_ADVICE)
    likely = shortened(likely, max(80, room - len(do) - len(what)))
    return shortened(what, room - len(do) - len(likely)), likely, do


class PhotoError(ScorecamError, ValueError):
    """A photo that cannot be read."""


class ModelError(ScorecamError, RuntimeError):
    """A model that cannot be opened, or fails."""


class WeightsError(ModelError):
    """Weights that cannot be read, or do not fit the model."""


class LayerError(ScorecamError, ValueError):
    """A layer that does not exist, or whose output has no grid."""


class TargetError(ScorecamError, ValueError):
    """A class that does not exist, or a readout that does not fit the output."""


class SettingError(ScorecamError, ValueError):
    """An option with an invalid value."""


class BankError(ScorecamError, ValueError):
    """A score bank that cannot be read, or lacks the data that is needed."""


class DatasetError(ScorecamError, ValueError):
    """A data set, or an annotation in it, that cannot be read."""


class RunError(ScorecamError, ValueError):
    """A run folder that contains another run, or is damaged."""


class OutputError(ScorecamError, OSError):
    """A result that cannot be written."""


class MemoryShortage(ScorecamError, MemoryError):
    """Not even one masked image fits into memory."""


class MissingExtra(ScorecamError, ImportError):
    """An optional library that is not installed."""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A sentence with up to three `known` words similar to `word`; empty if there are none.

    Case is ignored. A word that contains `word` counts as similar. A very long text has no similar
    words.
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
