"""Numbers and names as they are written in the sentences of findings."""

from __future__ import annotations

from collections.abc import Sequence


def percent(share: float) -> str:
    """A share as "12 %"."""
    return f"{share:.0%}".replace("%", " %")


def counted(count: int, noun: str) -> str:
    """A count with its noun: "1 photo", "1,200 photos"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """The first eight names."""
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def p_value(p: float) -> str:
    """A p value as "p = 0.003"."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"
