"""Score-CAM as a `Method`."""

from __future__ import annotations

from dataclasses import dataclass, field

from scorecam.cam import Variant, find_variant
from scorecam.methods.declared import DeclaredMethod
from scorecam.methods.method import Case
from scorecam.settings import OPTIONS
from scorecam.shapes import Heatmap


@dataclass(frozen=True)
class ScoreCAMMethod(DeclaredMethod):
    """Score-CAM in one of its variants, read from the case's bank.

    Args:
        name: as users write it.
        variant: a `Variant` or its name; None for the default.
    """

    kind = "scorecam"
    source = "Wang et al., Score-CAM, CVPR workshops 2020"

    variant: Variant | None = field(default=None, metadata={"default": OPTIONS["variant"].default})

    def check(self) -> None:
        self._set("variant", self._resolved)

    def recorded(self) -> dict[str, object]:
        return {"variant": self._resolved.name, "formula": self._resolved.formula}

    def heatmap(self, case: Case) -> Heatmap:
        return case.bank.heatmap(case.target, self._resolved)

    @property
    def _resolved(self) -> Variant:
        return find_variant(self.variant or OPTIONS["variant"].default)


METHODS: tuple[type[DeclaredMethod], ...] = (ScoreCAMMethod,)
"""The methods of this file."""
