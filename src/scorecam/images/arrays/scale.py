"""The linear scale by which a file says what its stored numbers mean."""

from __future__ import annotations


def formula(slope: float, intercept: float) -> str:
    """The scale as a formula, such as "2 × stored − 1024"."""
    if intercept == 0:
        return f"{slope:g} × stored"
    sign = "−" if intercept < 0 else "+"
    return f"{slope:g} × stored {sign} {abs(intercept):g}"
