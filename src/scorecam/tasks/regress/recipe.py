"""How a network's output becomes values: the interface of a recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from torch import Tensor

from scorecam.base.wording import quoted
from scorecam.errors import SettingError, TargetError
from scorecam.io.ranges import parse_reals
from scorecam.model.readout import entries_of, find_scores
from scorecam.shapes import BatchedScores


@dataclass(frozen=True)
class Recipe(ABC):
    """How a network's output becomes values. To add one, see `recipes.RECIPES`.

    `pick`, `values` and `scores` run for every batch of masked images, also while a graph is traced
    on tensors without numbers: they must not depend on what the tensors hold.

    Attributes:
        name: as users write it.
        title: the name of a value, where users give none.
        squashes: the "softmax" or "sigmoid" that it applies, unless the network ends in it.
        unit: of the values, if the scores are something else than the values; empty otherwise.
        down: what `direction="down"` asks, for pictures.
        remark: what the user should know; empty for nothing.
        plain: whether the values are numbers of the output as they are.
    """

    name: ClassVar[str]
    title: ClassVar[str] = "value"
    squashes: ClassVar[Literal["", "softmax", "sigmoid"]] = ""
    unit: ClassVar[str] = ""
    down: ClassVar[str] = "why low"
    remark: ClassVar[str] = ""
    plain: ClassVar[bool] = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """The recipe with the options that users write after its name and a colon."""
        if text:
            raise SettingError(
                f"The recipe {cls.name} takes no options; {quoted(text)} was given.",
                do=f"Give recipe={cls.name!r} (--recipe {cls.name}).",
            )
        return cls()

    def pick(self, output: Any) -> Tensor:
        """The numbers in the output that it reads, `b …`.

        Raises:
            TargetError: there are none, or several tensors could be meant.
        """
        return find_scores(output)

    @abstractmethod
    def values(self, numbers: Tensor) -> BatchedScores:
        """The values in their unit, `b n`.

        Args:
            numbers: from `pick`, floats.
        """

    def scores(self, numbers: Tensor, own: Tensor) -> BatchedScores:
        """What is explained, `b n`: the values, if a recipe has nothing else.

        Args:
            own: the numbers of the unmasked image, `1 …`.
        """
        del own
        return self.values(numbers)

    def names(self, columns: int) -> tuple[str, ...]:
        """The names of the values, where users give none."""
        return (self.title,) if columns == 1 else tuple(f"{self.title} {i}" for i in range(columns))

    @property
    def default(self) -> int:
        """The column that is explained without a target."""
        return 0

    def of_probabilities(self) -> Self:
        """The recipe for a network that ends in the softmax or sigmoid of the recipe itself."""
        return self

    def check(self, numbers: Tensor) -> None:
        """Refuse numbers of the unmasked image that the recipe is not made for.

        Args:
            numbers: from `pick`, `1 …`.

        Raises:
            SettingError: they do not fit.
        """
        del numbers


def reals(name: str, what: str, text: str) -> tuple[float, ...]:
    """The numbers after the name of a recipe.

    Raises:
        SettingError: there is something else.
    """
    numbers = parse_reals(text) if text else ()
    if numbers is None:
        raise SettingError(
            f"The recipe {quoted(f'{name}:{text}')} has options that are not numbers.",
            do=f"After {name}: give {what}, separated by commas: recipe= (--recipe).",
        )
    return numbers


def named(output: Any, names: Sequence[str]) -> Tensor | None:
    """The first tensor in a dict or record with one of these names; case is ignored."""
    entries = {str(key).casefold(): entry for key, entry in entries_of(output).items()}
    found = [entries[name] for name in names if isinstance(entries.get(name), Tensor)]
    return found[0] if found and not isinstance(output, Tensor) else None


def matrix(numbers: Tensor) -> Tensor:
    """One row of numbers per image, `b n`; further axes of length one are dropped.

    Raises:
        TargetError: there are more axes.
    """
    if numbers.ndim < 2:
        return numbers.reshape(-1, 1)
    rest = numbers.shape[1:]
    if max(rest) != rest.numel():
        raise TargetError(
            f"The numbers in the model's output have the shape {tuple(numbers.shape)}; one row of "
            "numbers per image is needed.",
            likely="They may be a map.",
            do="Say which part of the output it is with output= (--output), use the recipe count "
            "for the sum of a map, or the task segment.",
        )
    return numbers.reshape(numbers.shape[0], -1)
