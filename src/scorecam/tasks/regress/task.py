"""The task regress: a value, up or down, in its unit."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, cast

from torch import Tensor

from scorecam.base.wording import quoted, visible
from scorecam.errors import SettingError
from scorecam.io.arguments import choice
from scorecam.model.head import adds_up, detected_alone, in_range
from scorecam.model.model import Model, TargetSpec, Task
from scorecam.model.readout import Readout, called, read, readout_for
from scorecam.model.task_columns import TaskColumns
from scorecam.shapes import BatchedScores, Columns, Images
from scorecam.tasks.column_names import column_index, parse_names
from scorecam.tasks.regress.recipe import Recipe, matrix
from scorecam.tasks.regress.recipes import find_recipe

LONGEST_UNIT = 20
"""The most characters of a unit: it is drawn next to the value."""

MOST_VALUES = 1000
"""The most values per image. More are a map, or the classes of a large classifier."""

MANY_VALUES = 20
"""From this many values on, a model may be a classifier."""

Direction = Literal["up", "down"]


@dataclass(frozen=True)
class Regress(Task):
    """Why a value is so high (`direction="up"`), or so low (`"down"`).

    Args:
        unit: of the values, such as "mm".
        direction: "up" explains the value; "down" explains minus the value.
        names: one per value; a text with commas between them is split.
        recipe: how the output becomes values: None for the numbers themselves; a name in `RECIPES`,
            perhaps with options, such as "count", "angle" or "quantile:0.1,0.5,0.9"; such a recipe;
            or a function of the output that returns `b` or `b n` values.
        output: which part of the model's output the recipe reads, as for `open_model`; None for
            that of `open_model`, or to find it.
    """

    unit: str = ""
    direction: Direction = "up"
    names: str | Sequence[str] | None = None
    recipe: str | Recipe | Callable[[Any], Tensor] | None = None
    output: int | str | Readout | None = None

    name: ClassVar[str] = "regress"

    def __post_init__(self) -> None:
        choice("direction", self.direction, ("up", "down"))
        _check_unit(self.unit)
        # Frozen dataclasses are set like this: options from the command line are texts.
        object.__setattr__(self, "recipe", find_recipe(self.recipe))
        object.__setattr__(self, "names", parse_names(self.names))

    @property
    def _recipe(self) -> Recipe:
        return cast("Recipe", self.recipe)

    def columns(self, model: Model, images: Images, target: TargetSpec) -> TaskColumns:
        given = model.given_output if self.output is None else readout_for(self.output)
        pick = _Pick(given, self._recipe)
        numbers = called(pick, model.output(images))
        if isinstance(numbers, Tensor) and numbers.ndim:
            numbers = numbers[:1]  # networks with a fixed batch return more rows
        recipe, passes, remarks = _fitted(model, images, pick)
        pick = replace(pick, recipe=recipe)
        readout = _Values(pick, numbers, -1 if self.direction == "down" else 1)
        values = read(numbers, readout.values, 1)[0]
        recipe.check(numbers)
        names = self._column_names(values, model)
        column = column_index(target, values, names, recipe.default)
        return TaskColumns(
            readout,
            names,
            column=column,
            task=self.name,
            unit="" if recipe.unit else self.unit,
            values=self._texts(values),
            remarks=(*remarks, *self._remarks(values, names, None if target is None else column)),
            passes=1 + passes,
        )

    def _column_names(self, values: Columns, model: Model) -> tuple[str, ...]:
        count = len(values)
        if count > MOST_VALUES:
            raise SettingError(
                f"The model returns {count:,} values per image; at most {MOST_VALUES:,} can be "
                "columns.",
                likely="They may be a map, or the classes of a classifier.",
                do="Choose a part with output= (--output), or leave task= (--task) out.",
            )
        own = self._recipe.names(count)
        if self.names is None:
            of_model = model.names if self._recipe.plain else None
            return of_model if of_model and len(of_model) == count else own
        if len(self.names) != count:
            raise SettingError(
                f"names= has {len(self.names)} names, and there are {count} values per image"
                f"{'' if self._recipe.plain else ': ' + ', '.join(own)}.",
                do="Give one name per value.",
            )
        return tuple(self.names)

    def _texts(self, values: Columns) -> tuple[str, ...]:
        """The values in words; empty if the score with its unit is the value."""
        recipe, down = self._recipe, self.direction == "down"
        if not down and not recipe.unit:
            return ()
        unit = self.unit or recipe.unit
        space = "" if unit in ("", "°", "%") else " "
        after = f" ({recipe.down})" if down else ""
        return tuple(f"{value:.4g}{space}{unit}{after}" for value in values.tolist())

    def _remarks(
        self, values: Columns, names: tuple[str, ...], chosen: int | None
    ) -> Iterator[str]:
        recipe, count = self._recipe, len(values)
        if recipe.remark:
            yield recipe.remark
        if self.direction == "down":
            yield "direction='down': the scores are minus " + (
                "the cosine." if recipe.unit else "the values."
            )
        if count < 2 or not recipe.plain:
            return
        if chosen is None:
            listed = f"{', '.join(names[:10])}{', …' if count > 10 else ''}"
            yield (
                f"The model returns {count} values per image: {listed}. Without a target, "
                f"{names[0]} is explained."
            )
        if count >= MANY_VALUES or (in_range(values[None]) and adds_up(values[None])):
            yield (
                f"These {count} values may be the classes of a classifier. If so, leave task= "
                "(--task) out."
            )


def _check_unit(unit: object) -> None:
    """Raises SettingError if this is no unit."""
    if not isinstance(unit, str) or len(unit) > LONGEST_UNIT or visible(unit) != unit:
        raise SettingError(
            f"unit={quoted(unit)} is not a unit: a text of at most {LONGEST_UNIT} characters.",
            do="Give a short one, such as unit='mm' (--unit mm), or leave it out.",
        )


# ── readouts ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Pick:
    """The numbers of an output that a recipe reads.

    Args:
        given: which part of the output the user named; None for all of it.
    """

    given: Readout | None
    recipe: Recipe

    def __call__(self, output: Any) -> Any:
        numbers = self.recipe.pick(output if self.given is None else self.given(output))
        whole = not isinstance(numbers, Tensor) or not numbers.is_floating_point()
        return numbers if whole else numbers.float()


@dataclass(frozen=True)
class _Matrix:
    """The same numbers as rows, to find out what kind they are."""

    pick: _Pick

    def __call__(self, output: Any) -> Tensor:
        return matrix(self.pick(output))


@dataclass(frozen=True, eq=False)
class _Values:
    """The readout: what a recipe makes of its numbers, up or down.

    Args:
        own: the numbers of the unmasked image.
        sign: 1 or -1.
    """

    pick: _Pick
    own: Any
    sign: int

    @property
    def trace_key(self) -> Hashable:
        return self.pick

    def values(self, numbers: Any) -> Tensor:
        """The values, whatever the direction; other things than real numbers are left to `read`."""
        if not isinstance(numbers, Tensor) or not numbers.is_floating_point():
            return numbers
        return self.pick.recipe.values(numbers)

    def __call__(self, output: Any) -> BatchedScores:
        numbers = self.pick(output)
        return self.sign * self.pick.recipe.scores(numbers, self.own)


def _fitted(model: Model, images: Images, pick: _Pick) -> tuple[Recipe, int, tuple[str, ...]]:
    """The recipe that suits the network's last step; passes; what the user should know."""
    recipe = pick.recipe
    if not recipe.squashes or recipe == recipe.of_probabilities():
        return recipe, 0, ()
    found = detected_alone(model.with_readout(_Matrix(pick)), images)
    if found.head != "probabilities" and not (recipe.squashes == "sigmoid" and found.bounded):
        return recipe, found.passes, ()
    remark = (
        f"The recipe {recipe.name} takes the output's numbers as probabilities, without a "
        f"{recipe.squashes}: they are between 0 and 1."
    )
    return recipe.of_probabilities(), found.passes, (remark,)
