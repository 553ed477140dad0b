"""What the user reads of a graph's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from scorecam.model.readout import Readout, find_scores, part


def given_output(
    readout: Readout, returns: Sequence[str], answers: Sequence[str]
) -> Readout | None:
    """The user's `output=` as a function of all outputs; None if it was not given.

    Args:
        readout: of the outputs that are returned.
        returns: their names, if the user chose one.
        answers: the names of all outputs.
    """
    if not returns:
        return None if readout is find_scores else readout

    def read_one(output: Any) -> Tensor:
        return readout(part(output, returns[0]) if len(answers) > 1 else output)

    return read_one
