"""A task whose columns have known places, for tests of pictures and pages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from scorecam.model.model import Model, TargetSpec, Task
from scorecam.model.task_columns import TaskColumns
from scorecam.shapes import Images

NOWHERE = (math.nan,) * 4


@dataclass(frozen=True)
class PlacedTask(Task):
    """Columns with names and places; column i is the first score of the model plus `steps[i]`.

    Args:
        names: of the columns.
        steps: added to the score; zeros if it is empty.
        boxes, masks: of the columns.
        task: the name of the task that it stands for.
        unit: of the scores.
    """

    name: ClassVar[str] = "detect"
    names: tuple[str, ...]
    steps: tuple[float, ...] = ()
    boxes: tuple[tuple[float, ...], ...] | None = None
    masks: Tensor | None = None
    task: str = "detect"
    unit: str = ""

    def columns(
        self,
        model: Model,  # noqa: ARG002
        images: Images,  # noqa: ARG002
        target: TargetSpec,
    ) -> TaskColumns:
        steps = torch.tensor(self.steps or (0.0,) * len(self.names))
        return TaskColumns(
            readout=lambda output: output[:, :1] + steps.to(output),
            names=self.names,
            task=self.task,
            unit=self.unit,
            boxes=None if self.boxes is None else torch.tensor(self.boxes),
            masks=self.masks,
            column=self.names.index(target) if isinstance(target, str) else 0,
        )
