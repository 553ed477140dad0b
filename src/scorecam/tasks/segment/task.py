"""The task segment: which parts of the picture make the model see a class in a region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from scorecam.base.wording import quoted
from scorecam.errors import SettingError
from scorecam.io.arguments import choice
from scorecam.model.model import Model, TargetSpec, Task
from scorecam.model.readout import Readout
from scorecam.model.task_columns import TaskColumns
from scorecam.shapes import Images

if TYPE_CHECKING:
    from scorecam.tasks.segment.class_maps import Kind

KINDS: tuple[Kind | Literal["auto"], ...] = ("auto", "logits", "sigmoid", "probabilities")


@dataclass(frozen=True)
class Segment(Task):
    """The mean probability of a class over a region.

    Every predicted class is a column, with its predicted region. A target that is a point, a box or
    a mask adds a column for the class that is most frequent there; the background only if there is
    nothing else.

    Args:
        label: the class to score in the region of the target, by name or index; None for the
            region's own.
        head: what the numbers of the output are: "logits" of a softmax over the classes, "sigmoid"
            for logits of classes that exclude no other, "probabilities", or "auto" for that of the
            model, if it was given there, or to detect it.
        output: where the class maps are in the output: an index, a name, or a function of the
            output; None to find them.
    """

    name: ClassVar[str] = "segment"

    label: int | str | None = None
    head: Kind | Literal["auto"] = "auto"
    output: int | str | Readout | None = None

    def __post_init__(self) -> None:
        choice("head", self.head, KINDS)
        if not (self.output is None or isinstance(self.output, int | str) or callable(self.output)):
            raise SettingError(
                f"output={quoted(self.output)} is not a part of an output.",
                do="Give an index, a name, or a function of the network's output.",
            )

    def columns(self, model: Model, images: Images, target: TargetSpec) -> TaskColumns:
        from scorecam.tasks.segment.for_image import columns_for_image  # not before an image comes

        part = model.given_output if self.output is None else self.output
        return columns_for_image(model, images, target, label=self.label, head=self.head, part=part)
