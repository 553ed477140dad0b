"""The result of a comparison, as plain values and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scorecam.base.wording import excerpt, summary
from scorecam.metrics.statistics import Interval
from scorecam.runs.compare.tables import comparison_table
from scorecam.runs.compare.versus import FailedGate, Versus
from scorecam.runs.markdown import Markdown


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Args:
        folder: of the comparison.
        names: of the sides, in order.
        accuracy: of each side, if photos have labels.
        focus: of each side, the energy in the object (by its mask, or else its boxes).
        versus: the first side compared with each other side.
        failed_gates: the gates that failed, side by side.
        remarks: what is unknown or was left out, and why.
    """

    folder: Path
    names: tuple[str, ...]
    accuracy: tuple[Interval, ...]
    focus: tuple[Interval, ...]
    versus: tuple[Versus, ...]
    failed_gates: tuple[FailedGate, ...]
    remarks: tuple[str, ...]

    @summary
    def __repr__(self) -> Iterator[str]:
        yield excerpt(self.folder, 200)
        yield excerpt(" against ".join(self.names))
        yield f"failed gates: {len(self.failed_gates)}"

    @property
    def failed(self) -> tuple[str, ...]:
        """The gates that failed, as sentences that name the side, the number and its limit."""
        return tuple(gate.sentence for gate in self.failed_gates)

    @property
    def table(self) -> Markdown:
        """The result as Markdown."""
        return comparison_table(
            self.versus,
            names=self.names,
            accuracy=self.accuracy,
            focus=self.focus,
            failed=self.failed,
            remarks=self.remarks,
        )
