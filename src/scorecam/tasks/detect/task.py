"""The task `detect` and its options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from scorecam.base.wording import quoted
from scorecam.errors import SettingError
from scorecam.io.ranges import SHARE
from scorecam.model.model import Model, TargetSpec, Task
from scorecam.model.task_columns import TaskColumns
from scorecam.shapes import Images

if TYPE_CHECKING:
    from scorecam.tasks.detect.decoders.function import DecodeFunction


@dataclass(frozen=True)
class Detect(Task):
    """Why this box: every box of an image is a column, scored by its best match.

    Args:
        decode: the form of the output: a name in `recognition.DECODERS`, such as "yolo"; a function
            from the output to boxes, `b m 4` in pixels of the input, and probabilities, `b m n`;
            or None to recognise it.
        threshold: boxes with a higher probability are columns.
        overlap: of two boxes of one class that overlap by more, only the more probable one is a
            column. Detectors that suppress such boxes themselves are left as they are.
    """

    decode: str | DecodeFunction | None = None
    threshold: float = 0.25
    overlap: float = 0.5

    name: ClassVar[str] = "detect"

    def __post_init__(self) -> None:
        if self.decode is not None:
            from scorecam.tasks.detect.recognition import check_decode  # not at every start

            check_decode(self.decode)
        for option in ("threshold", "overlap"):
            if not SHARE.holds(getattr(self, option)):
                raise SettingError(
                    f"{option}={quoted(getattr(self, option))} (--{option}) is not a number from "
                    "0 to 1.",
                    do=f"Give one such as {option}=0.5.",
                )

    def columns(self, model: Model, images: Images, target: TargetSpec) -> TaskColumns:
        from scorecam.tasks.detect.columns import columns_of  # not before a detector runs

        if images.ndim != 4:
            raise SettingError(
                f"The task detect explains photos, and the input has {images.ndim - 2} axes.",
                do="Give photos, or another task: task= (--task).",
            )
        return columns_of(
            model,
            images,
            target,
            decode=self.decode,
            threshold=self.threshold,
            overlap=self.overlap,
        )
