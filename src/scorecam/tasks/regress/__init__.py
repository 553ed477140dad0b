"""The task regress: why a value is so high or so low."""

from scorecam.tasks.regress.recipe import Recipe
from scorecam.tasks.regress.recipes import (
    RECIPES,
    Angle,
    Binned,
    Count,
    Gaussian,
    Ordinal,
    Quantile,
)
from scorecam.tasks.regress.task import Regress

__all__ = [
    "Angle",
    "Binned",
    "Count",
    "Gaussian",
    "Ordinal",
    "Quantile",
    "Recipe",
    "RECIPES",
    "Regress",
]
