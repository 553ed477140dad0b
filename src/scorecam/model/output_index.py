"""What to take of an output, as users write it after its name: `boxes[:, max, 3]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from scorecam.errors import TargetError

_TEXT: Final = re.compile(r"(?P<name>.*?)\[(?P<entries>[^\[\]]*)\]", re.DOTALL)
_ENTRY: Final = re.compile(r":|max|mean|-?\d{1,9}")


@dataclass(frozen=True)
class OutputIndex:
    """The readout that takes a part of a tensor.

    Args:
        entries: one per axis: ":" for all entries, a number for one of them, "max" or "mean" for
            the largest or the mean of all.
    """

    entries: tuple[str, ...]

    def __call__(self, output: object) -> Tensor:
        """The part.

        Raises:
            TargetError: the output is no tensor, or has other axes.
        """
        text = f"[{', '.join(self.entries)}]"
        if not isinstance(output, Tensor):
            raise TargetError(
                f"{text} takes a part of a tensor, and the output is a {type(output).__name__}.",
                do=f"Put the name or the number of a tensor before it, as in 'scores{text}': "
                "output= (--output).",
            )
        shape = tuple(output.shape)
        if len(shape) != len(self.entries):
            raise TargetError(
                f"{text} is for {len(self.entries)} axes, and the output has the shape {shape}.",
                do="Give one entry per axis, the batch included: output= (--output).",
            )
        for axis in reversed(range(len(shape))):
            entry = self.entries[axis]
            if entry == "max":
                output = output.amax(axis)
            elif entry == "mean":
                output = output.mean(axis)
            elif entry != ":":
                if not -shape[axis] <= int(entry) < shape[axis]:
                    raise TargetError(
                        f"{text} has the entry {entry}, and the output has the shape {shape}.",
                        do=f"Give a number below {shape[axis]}: output= (--output).",
                    )
                output = output.select(axis, int(entry))
        return output


def split_index(text: str) -> tuple[int | str, OutputIndex | None]:
    """The name or number in such a text, and what to take; None if that is all of it."""
    match = _TEXT.fullmatch(text)
    entries = [] if match is None else [part.strip() for part in match["entries"].split(",")]
    if match is None or not all(map(_ENTRY.fullmatch, entries)):
        return text, None
    name = match["name"].strip()
    return int(name) if re.fullmatch(r"\d{1,9}", name) else name, OutputIndex(tuple(entries))
