"""How much a photo's map depends on the variant."""

from __future__ import annotations

from scorecam.audit.item import Item
from scorecam.audit.significance import rank_correlation

NOT_COMPARED = ("centred", "consensus")
"""These variants' maps are zero in many places, so many of their ranks are ties."""


def comparable(item: Item) -> bool:
    """Whether the audited method is a variant whose maps are compared with other variants'."""
    return item.view not in (None, *NOT_COMPARED)


def lowest_agreement(item: Item) -> tuple[float, str] | None:
    """The lowest rank correlation of a photo's map with another variant's, and the two names.

    None if there is nothing to compare.
    """
    target = None if item.entry is None else item.entry.by_role("target")
    if target is None or item.view is None or not comparable(item):
        return None
    # Both from the gallery if possible: the record's maps are smoother.
    own = target.maps.get(item.view, item.map)
    correlations = [
        (correlation, f"{item.view} and {view}")
        for view, heat in target.maps.items()
        if view not in (*NOT_COMPARED, item.view)
        and (correlation := rank_correlation(own, heat)) is not None
    ]
    return min(correlations, default=None)
