"""What a task finds in a model's output for one image: the columns, and where they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor

from scorecam.base.wording import constructor
from scorecam.cam import Head
from scorecam.model.readout import Readout

Boxes = Annotated[Tensor, "n d"]
"""One box per column in pixels of the input, float32: the first corner, then the last, x first.

A photo's box is x1 y1 x2 y2; pixel i covers [i, i + 1). NaN for a column without a box.
"""

RegionMasks = Annotated[Tensor, "n *i"]
"""One region per column in pixels of the input, bool; empty for a column without one."""


DefaultGrid = tuple[int, ...] | Literal["deepest"]
"""Where the default layer of a network with several grids is: the size of a grid, or "deepest"."""


@dataclass(frozen=True, eq=False)
class TaskColumns:
    """The columns that a task found for one image. They do not change while masks are scored.

    Args:
        readout: a model's output → `b n`, one column per answer. A `trace_key` attribute, if it has
            one, is equal for readouts that depend on the same tensors of the network: the default
            layer is then found once for all of them.
        names: one per column, each of them different.
        head: the kind of the scores.
        column: the column that the user's target means, or the task's own answer without a target.
        task: the task's name.
        unit: of the scores, such as "mm"; empty for none.
        boxes: where the columns are in the input; None if no column has a box.
        masks: the same for regions of any shape.
        classes: the class of each column, by index and name, where several columns may be of one
            class, as boxes are; None if each column is something else.
        remarks: what the user should know, one sentence each.
        passes: images that the model scored to find the columns.
        values: what is shown for each column in place of its score, such as "45.0°"; empty to show
            the score with its unit.
        grid: where the default layer is: "deepest" for the deepest grid before any is enlarged, the
            size of a grid for the result of that level of a feature pyramid, or None for the last
            layer on every path. A network without such a grid has its usual default.
    """

    readout: Readout
    names: tuple[str, ...]
    head: Head = "value"
    column: int = 0
    task: str = ""
    unit: str = ""
    boxes: Boxes | None = None
    masks: RegionMasks | None = None
    classes: tuple[tuple[int, str], ...] | None = None
    remarks: tuple[str, ...] = ()
    passes: int = 1
    values: tuple[str, ...] = ()
    grid: DefaultGrid | None = None

    __repr__ = constructor


def default_grid(columns: TaskColumns | None) -> DefaultGrid | None:
    """Where the default layer is for these columns; None without columns."""
    return None if columns is None else columns.grid
