"""The task detect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from scorecam.errors import TargetError
from scorecam.model.model import Model, TargetSpec, Task
from scorecam.model.task_columns import TaskColumns
from scorecam.shapes import Images


@dataclass(frozen=True)
class Detect(Task):
    """Not built yet."""

    name: ClassVar[str] = "detect"

    def columns(self, model: Model, images: Images, target: TargetSpec) -> TaskColumns:
        raise TargetError("This task is not built yet.")
