"""Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def with_interval(mean: Mapping[str, float | None], sign: str = "") -> str:
    """A mean with its 95 % interval, as results hold it: `mean`, `low`, `high` and `n`.

    Args:
        sign: "+" for differences.
    """
    if not mean["n"]:
        return "–"
    middle, low, high = (
        "nan" if mean[name] is None else f"{mean[name]:{sign}.3f}"
        for name in ("mean", "low", "high")
    )
    return middle if low == "nan" else f"{middle} [{low}, {high}]"
