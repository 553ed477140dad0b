"""Score-CAM as a `Method`."""

from __future__ import annotations

from dataclasses import dataclass, field

from scorecam.cam import Variant
from scorecam.methods.declared import DeclaredMethod
from scorecam.methods.method import Case
from scorecam.model.variants import Auto, check_variant, name_of
from scorecam.settings import OPTIONS
from scorecam.shapes import Heatmap


@dataclass(frozen=True)
class ScoreCAMMethod(DeclaredMethod):
    """Score-CAM in one of its variants, read from the case's bank.

    Args:
        name: as users write it.
        variant: a `Variant`, its name, or "auto"; None for the default.
    """

    kind = "scorecam"
    source = "Wang et al., Score-CAM, CVPR workshops 2020"

    variant: Variant | Auto | None = field(
        default=None, metadata={"default": OPTIONS["variant"].default}
    )

    def check(self) -> None:
        self._set("variant", self._resolved)

    def recorded(self) -> dict[str, object]:
        variant = self._resolved
        formula = "that of each photo's variant" if isinstance(variant, str) else variant.formula
        return {"variant": name_of(variant), "formula": formula}

    def heatmap(self, case: Case) -> Heatmap:
        return case.bank.heatmap(case.target, self._resolved)

    @property
    def _resolved(self) -> Variant | Auto:
        return check_variant(self.variant or OPTIONS["variant"].default)


METHODS: tuple[type[DeclaredMethod], ...] = (ScoreCAMMethod,)
"""The methods of this file."""
