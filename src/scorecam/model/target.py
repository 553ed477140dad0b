"""The column that is explained."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scorecam.base.wording import constructor, excerpt, quoted
from scorecam.cam import Head, probabilities
from scorecam.errors import TargetError, did_you_mean
from scorecam.io.ranges import parse_whole
from scorecam.model.columns import prediction, two_names, two_sided
from scorecam.model.model import Model
from scorecam.shapes import Columns


@dataclass(frozen=True)
class Target:
    """The column that is explained.

    Args:
        index: its index among the columns.
        name: its name, where the columns have names.
        score: the readout of the unmasked image, z_t(X).
        probability: p_t(X), where the head has one; in [0, 1].
        unit: of the score, such as "mm"; empty for none.
        text: what is shown in place of the score, such as "45.0°"; empty for the score itself.
    """

    index: int
    name: str | None
    score: float
    probability: float | None
    unit: str = ""
    text: str = ""

    __repr__ = constructor

    @property
    def label(self) -> str:
        """The name, or for example "class 3" without a name."""
        return self.name if self.name is not None else f"class {self.index}"

    @property
    def value(self) -> str:
        """The probability in percent, or the score with its unit, or the text in its place."""
        if self.text:
            return self.text
        if self.probability is None:
            return f"{self.score:.4g} {self.unit}".rstrip()
        return f"{100 * self.probability:.1f} %"

    @property
    def title(self) -> str:
        """The label, shortened if it is long, and the value."""
        return f"{excerpt(self.label, 50)} {self.value}"


def check_target(model: Model, target: int | str | None) -> None:
    """Refuse a misspelt class before anything is computed, if the classes have names.

    Raises:
        TargetError: there is no such class.
    """
    if model.names and len(model.names) > 2:  # a single column may have up to two names
        _named_column(model, target, len(model.names))


def find_column(model: Model, target: int | str | None, scores: Columns) -> int:
    """The column of a target before the head is known; None for the prediction.

    Args:
        scores: of the unmasked image, `n`.

    Raises:
        TargetError: there is no such class.
    """
    if target is None:
        return prediction(scores, model.head)
    return _named_column(model, target, len(scores))


def _named_column(model: Model, target: int | str | None, columns: int) -> int:
    head: Head = "value" if model.head == "value" else "sigmoid"
    names = two_names(model.names, columns, head)
    both = two_sided(torch.zeros(1, columns), head)[0]
    return find_target(target, both, names, "value").index


def find_target(
    target: int | str | None, columns: Columns, names: Sequence[str] | None, head: Head
) -> Target:
    """The column a user means.

    Args:
        target: an index (NumPy's and torch's integers too), a name (case is ignored), or None for
            the largest column. Of names such as "colour: red", "red" is enough if it is the only
            one, and "colour" is the largest of its columns.
        columns: the readout of the unmasked image, `n`.
        names: one per column, where known.

    Raises:
        TargetError: there is no such column.
    """
    if target is None:
        index = int(columns.argmax())
    elif isinstance(target, str):
        index = _index_of(target, columns, names)
    else:
        index = _checked(_as_index(target), len(columns))
    probability = None
    if head != "value":
        probability = float(probabilities(columns[None], head)[0, index])
    return Target(index, names[index] if names else None, float(columns[index]), probability)


def _index_of(name: str, scores: Columns, names: Sequence[str] | None) -> int:
    folded, columns = name.strip().casefold(), len(scores)
    matches = [i for i, known in enumerate(names or ()) if known.casefold() == folded]
    if not matches:
        matches = _in_parts(folded, scores, names or ())
    if len(matches) == 1:
        return matches[0]
    if len(matches) > 1:
        raise TargetError(
            f"{len(matches)} classes are called {quoted(name)}.",
            do=f"Use the index: {', '.join(map(str, matches))}.",
        )
    if folded.isdecimal() and (number := parse_whole(folded)) is not None:
        return _checked(number, columns)
    if not names:
        raise TargetError(
            f"The target {quoted(name)} is a name, but this model's classes have no names.",
            do=f"Use an index from 0 to {columns - 1}, or give the names with labels= (--labels).",
        )
    raise TargetError(
        f"No class is called {quoted(name)}.",
        likely=did_you_mean(name, names),
        do=f"Use one of the {len(names)} names, or an index from 0 to {columns - 1}.",
    )


def _in_parts(folded: str, scores: Columns, names: Sequence[str]) -> list[int]:
    """The columns with this second part of a name; else the largest with this first part."""
    parts = [known.casefold().partition(": ") for known in names]
    seconds = [i for i, (_, colon, second) in enumerate(parts) if colon and second == folded]
    firsts = [i for i, (first, colon, _) in enumerate(parts) if colon and first == folded]
    return seconds or sorted(firsts, key=lambda i: -float(scores[i]))[:1]


def _as_index(target: Any) -> int:
    if getattr(target, "dtype", type(target)) not in (bool, np.dtype(bool), torch.bool):
        with contextlib.suppress(TypeError, ValueError):
            return operator.index(target)
    raise TargetError(
        f"A target is an index, a class name, a function or None, not {quoted(target)}.",
        likely=_likely_cause(target),
        do="Give one of these.",
    )


def _likely_cause(target: Any) -> str:
    """The likely cause of an invalid target; empty if it is not known."""
    if isinstance(target, list | tuple | np.ndarray):
        return (
            "A list with one target per image is for several images: scorecam.ScoreCAM(model)(x)."
        )
    if isinstance(target, float):
        return "It may come from a table or a file in which indices became decimals."
    return ""


def _checked(index: int, columns: int) -> int:
    if not 0 <= index < columns:
        raise TargetError(
            f"There is no class {quoted(index)}: the model has {columns}, numbered 0 to "
            f"{columns - 1}.",
            likely="Its class list may start at 1." if index == columns else "",
            do="Use an index in that range, or a class name.",
        )
    return index
