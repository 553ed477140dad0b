"""Every recipe: counts, angles, ranks, quantiles, bins, and means with a variance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, cast

import torch
from torch import Tensor

from scorecam.base.wording import quoted
from scorecam.errors import SettingError, TargetError, did_you_mean
from scorecam.io.arguments import choice, several
from scorecam.model.readout import entries_of, find_scores
from scorecam.shapes import BatchedScores
from scorecam.tasks.regress.recipe import Recipe, matrix, named, reals


@dataclass(frozen=True)
class Plain(Recipe):
    """The numbers themselves."""

    name: ClassVar[str] = "value"
    plain: ClassVar[bool] = True

    def values(self, numbers: Tensor) -> BatchedScores:
        return matrix(numbers)


@dataclass(frozen=True)
class Given(Recipe):
    """A user's function of the output, which returns `b` or `b n` values."""

    function: Callable[[Any], Tensor]

    name: ClassVar[str] = "function"
    plain: ClassVar[bool] = True

    def pick(self, output: Any) -> Tensor:
        return self.function(output)

    def values(self, numbers: Tensor) -> BatchedScores:
        return matrix(numbers)


@dataclass(frozen=True)
class Count(Recipe):
    """Σ over all positions of a density map, `b c *i`; a given count, `b n`, as it is."""

    name: ClassVar[str] = "count"
    title: ClassVar[str] = "count"

    def pick(self, output: Any) -> Tensor:
        found = named(output, ("count", "density", "density_map"))
        if found is not None:
            return found
        maps = [entry for entry in entries_of(output).values() if _is_map(entry)]
        return maps[0] if len(maps) == 1 else find_scores(output)

    def values(self, numbers: Tensor) -> BatchedScores:
        if not _is_map(numbers):
            return matrix(numbers)
        # Maps without an axis for channels, `b h w`, have a long second axis.
        with_channels = numbers.ndim > 3 or numbers.shape[1] == 1
        return (numbers if with_channels else numbers[:, None]).flatten(2).sum(2)


def _is_map(numbers: Any) -> bool:
    return isinstance(numbers, Tensor) and numbers.ndim > 2


@dataclass(frozen=True)
class Angle(Recipe):
    """Angles as pairs of sine and cosine, `b 2n`: sin₀ cos₀ sin₁ cos₁ …, of any length.

    The score is cos(θ − θ₀), θ₀ the angle of the unmasked image: how close the answer stays to it.

    Args:
        first: which of a pair comes first, "sin" or "cos". It matters for the stated angle only.
    """

    first: str = "sin"

    name: ClassVar[str] = "angle"
    title: ClassVar[str] = "angle"
    unit: ClassVar[str] = "°"
    down: ClassVar[str] = "why not"
    remark: ClassVar[str] = (
        "The score is the cosine of the difference to the angle of the unmasked image: 1 for the "
        "same angle, -1 for the opposite one."
    )

    def __post_init__(self) -> None:
        choice("first part of an angle", self.first, ("sin", "cos"))

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(text or "sin")

    def pick(self, output: Any) -> Tensor:
        sine, cosine = named(output, ("sin", "sine")), named(output, ("cos", "cosine"))
        if sine is None or cosine is None:
            return find_scores(output)
        pair = [matrix(sine), matrix(cosine)]
        pairs = torch.stack(pair if self.first == "sin" else pair[::-1], dim=2)
        return pairs.flatten(1)

    def _pairs(self, numbers: Tensor) -> Tensor:
        """The pairs, `b n 2`."""
        rows = matrix(numbers)
        if rows.shape[1] % 2:
            raise TargetError(
                f"The recipe angle reads pairs of sine and cosine, and the output has "
                f"{rows.shape[1]} numbers per image.",
                likely="The network may return the angle itself.",
                do="Leave out recipe= (--recipe), or choose the pairs with output= (--output).",
            )
        return rows.unflatten(1, (-1, 2))

    def values(self, numbers: Tensor) -> BatchedScores:
        one, other = self._pairs(numbers).unbind(2)
        sine, cosine = (one, other) if self.first == "sin" else (other, one)
        return torch.atan2(sine, cosine).rad2deg()

    def scores(self, numbers: Tensor, own: Tensor) -> BatchedScores:
        pairs = self._pairs(numbers)
        # A pair of zeros has no angle, and the cosine 0.
        return torch.cosine_similarity(pairs, self._pairs(own.to(pairs)), dim=2)


@dataclass(frozen=True)
class Ordinal(Recipe):
    """Σ_j σ(z_j) over cumulative logits, `b n`: the expected rank from 0 to n (CORAL).

    Args:
        probabilities: whether the numbers are probabilities already; it is also detected.
    """

    probabilities: bool = False

    name: ClassVar[str] = "ordinal"
    title: ClassVar[str] = "rank"
    squashes: ClassVar[Literal["", "softmax", "sigmoid"]] = "sigmoid"

    def values(self, numbers: Tensor) -> BatchedScores:
        rows = matrix(numbers)
        return (rows if self.probabilities else rows.sigmoid()).sum(1, keepdim=True)

    def of_probabilities(self) -> Self:
        return replace(self, probabilities=True)


@dataclass(frozen=True)
class Quantile(Recipe):
    """Quantiles, `b n`, and the width of the interval between the outer two.

    Args:
        levels: one per number of the output, between 0 and 1.
    """

    levels: tuple[float, ...] = (0.1, 0.5, 0.9)

    name: ClassVar[str] = "quantile"

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", _numbers("levels", self.levels))
        if not self.levels or not all(0 < level < 1 for level in self.levels):
            raise SettingError(
                f"The levels of the recipe quantile are {quoted(self.levels)}.",
                likely="They may be percentages.",
                do="Give numbers between 0 and 1, such as recipe='quantile:0.1,0.5,0.9' "
                "(--recipe).",
            )
        if len(set(map(_percent, self.levels))) < len(self.levels):
            raise SettingError(
                f"The levels of the recipe quantile are {quoted(self.levels)}; one is repeated.",
                do="Give each level once, in the order of the output.",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(reals(cls.name, "the levels", text)) if text else cls()

    def values(self, numbers: Tensor) -> BatchedScores:
        rows = matrix(numbers)
        if rows.shape[1] != len(self.levels):
            raise SettingError(
                f"The recipe quantile has {len(self.levels)} levels, and the output has "
                f"{rows.shape[1]} numbers per image.",
                do="Give one level per number, such as recipe='quantile:0.05,0.95' (--recipe).",
            )
        if len(self.levels) == 1:
            return rows
        low, high = self._outer
        return torch.cat([rows, rows[:, high : high + 1] - rows[:, low : low + 1]], dim=1)

    @property
    def _outer(self) -> tuple[int, int]:
        """The columns of the lowest and the highest level."""
        return self.levels.index(min(self.levels)), self.levels.index(max(self.levels))

    def names(self, columns: int) -> tuple[str, ...]:
        names = tuple(map(_percent, self.levels))
        low, high = self._outer
        return (*names, f"width {names[low]} to {names[high]}")[:columns]

    @property
    def default(self) -> int:
        """The level closest to the median."""
        return min(range(len(self.levels)), key=lambda i: abs(self.levels[i] - 0.5))


def _percent(level: float) -> str:
    return f"{100 * level:.6g} %"


@dataclass(frozen=True)
class Binned(Recipe):
    """Σ_j v_j · softmax(z)_j over bins, `b n`: the expected value (DEX).

    Args:
        bins: the value of each bin; or the first and the last, with equal steps; or none for 0, 1,
            2, ….
        probabilities: whether the numbers are probabilities already; it is also detected.
    """

    bins: tuple[float, ...] = ()
    probabilities: bool = False

    name: ClassVar[str] = "binned"
    squashes: ClassVar[Literal["", "softmax", "sigmoid"]] = "softmax"

    def __post_init__(self) -> None:
        object.__setattr__(self, "bins", _numbers("bins", self.bins))
        if not all(map(math.isfinite, self.bins)):
            raise SettingError(
                f"The bins of the recipe binned are {quoted(self.bins)}.",
                do="Give finite numbers.",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(reals(cls.name, "the value of each bin, or the first and the last", text))

    def values(self, numbers: Tensor) -> BatchedScores:
        rows = matrix(numbers)
        shares = rows if self.probabilities else rows.softmax(1)
        return (shares * self._values(rows.shape[1]).to(shares)).sum(1, keepdim=True)

    def of_probabilities(self) -> Self:
        return replace(self, probabilities=True)

    def _values(self, count: int) -> Tensor:
        given = self.bins or (0.0, count - 1.0)
        if len(given) == count:
            return torch.tensor(given)
        if len(given) == 2:
            return torch.linspace(given[0], given[1], count)
        raise SettingError(
            f"The recipe binned has the values of {len(given)} bins, and the output has {count} "
            "numbers per image.",
            do="Give one value per bin, or the first and the last: recipe='binned:0,100' "
            "(--recipe).",
        )


def _numbers(name: str, given: object) -> tuple[float, ...]:
    """Numbers of a recipe, which is hashable with them."""
    return tuple(map(float, several(name, given, int | float, "Give a list of numbers.")))


SPREADS: dict[str, tuple[str, ...]] = {
    "variance": ("variance", "var", "sigma2"),
    "log-variance": ("log_variance", "log_var", "logvar", "log_sigma2"),
    "std": ("std", "stddev", "sigma", "scale"),
}
"""What a Gaussian head may return next to the mean, and how dicts name it."""


@dataclass(frozen=True)
class Gaussian(Recipe):
    """The means of a Gaussian head, and the standard deviations.

    The output is `b 2n`, first the means, then the variances; a tuple of both; or a dict that names
    them.

    Args:
        spread: what the second half is: "variance", "log-variance" or "std". The names of a dict
            decide it themselves.
    """

    spread: str = "variance"

    name: ClassVar[str] = "gaussian"

    def __post_init__(self) -> None:
        choice("spread of the recipe gaussian", self.spread, tuple(SPREADS))

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(text or "variance")

    def pick(self, output: Any) -> Tensor:
        """The means and the standard deviations, `b 2n`."""
        mean = named(output, ("mean", "mu", "loc"))
        for spread, names in SPREADS.items():
            second = named(output, names)
            if mean is not None and second is not None:
                return _joined(mean, second, spread)
        if isinstance(output, tuple | list) and len(output) == 2:
            mean, second = cast("Sequence[Tensor]", output)
            return _joined(mean, second, self.spread)
        rows = matrix(find_scores(output))
        if rows.shape[1] % 2:
            raise TargetError(
                "The recipe gaussian reads as many variances as means, and the output has "
                f"{rows.shape[1]} numbers per image.",
                do="Say which part of the output they are with output= (--output).",
            )
        mean, second = rows.chunk(2, dim=1)
        return _joined(mean, second, self.spread)

    def values(self, numbers: Tensor) -> BatchedScores:
        return numbers

    def check(self, numbers: Tensor) -> None:
        mean, std = numbers.chunk(2, dim=1)
        if bool((std.isnan() & ~mean.isnan()).any()):
            raise SettingError(
                f"The recipe gaussian found no standard deviation: as {self.spread}, a number of "
                "the output is negative or not a number.",
                likely="The network may return the logarithm of the variance.",
                do="Give recipe='gaussian:log-variance' or 'gaussian:std' (--recipe).",
            )

    def names(self, columns: int) -> tuple[str, ...]:
        if columns == 2:
            return "value", "std"
        count = columns // 2
        return *(f"value {i}" for i in range(count)), *(f"std {i}" for i in range(count))


def _joined(mean: Tensor, second: Tensor, spread: str) -> Tensor:
    rows = matrix(second)
    std = {"variance": rows.sqrt(), "log-variance": (rows / 2).exp(), "std": rows}[spread]
    return torch.cat([matrix(mean), std], dim=1)


RECIPES: dict[str, type[Recipe]] = {
    recipe.name: recipe for recipe in (Count, Angle, Ordinal, Quantile, Binned, Gaussian)
}
"""Every recipe by name. To add one, write a class above and add it here."""


def find_recipe(recipe: object) -> Recipe:
    """The recipe that a user means: by name with options, as a function, or itself.

    Raises:
        SettingError: there is no such recipe.
    """
    if recipe is None:
        return Plain()
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, str):
        name, _, options = recipe.partition(":")
        if name.strip() in RECIPES:
            return RECIPES[name.strip()].parse(options.strip())
    elif callable(recipe) and not isinstance(recipe, type):
        return Given(cast("Callable[[Any], Tensor]", recipe))
    raise SettingError(
        f"There is no recipe {quoted(recipe)}.",
        likely=did_you_mean(recipe, RECIPES) if isinstance(recipe, str) else "",
        do=f"With recipe= (--recipe), give {', '.join(RECIPES)}; in Python also a function of the "
        "output.",
    )
