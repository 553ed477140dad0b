"""The settings of a run that every photo and method share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scorecam.cam import Variant
from scorecam.datasets.sample import Label
from scorecam.methods.method import Method
from scorecam.metrics.metric import Metric
from scorecam.model.model import Model
from scorecam.model.variants import Auto
from scorecam.settings import Settings
from scorecam.shapes import Image


@dataclass(frozen=True)
class Setup:
    """How photos are explained and measured.

    Args:
        model: the model to explain.
        layer: by name.
        columns: the model's column of each class of the data set; with a task, its class.
        names: of the columns, or of the task's classes; None if they are unknown.
        target: "label": the labelled class, or the predicted one if that is unknown; "predicted".
        settings: of Score-CAM. The runtime and the precision are never "auto", so that they are the
            same for every photo. All methods use the seed.
        fill: what muted pixels show in the metrics: "run": Score-CAM's fill; "black".
    """

    model: Model
    layer: str
    methods: tuple[Method, ...]
    metrics: tuple[Metric, ...]
    columns: Mapping[Label, int] = field(default_factory=dict[Label, int])
    names: Sequence[str] | None = None
    target: str = "label"
    settings: Settings = field(default_factory=Settings)
    fill: str = "run"

    def column_of(self, label: Label | None) -> int | None:
        """The column of a class of the data set; None if it is unknown."""
        return None if label is None else self.columns.get(label)

    @property
    def bank_method(self) -> Method | None:
        """The first Score-CAM method, whose bank is kept; None without one."""
        return next((method for method in self.methods if method.variant is not None), None)

    def bank_variant(self, method: Method | None) -> Variant | Auto:
        """The variant for which a method's masks are chosen; with all masks, it does not matter."""
        if self.settings.exact or method is None or method.variant is None:
            return self.settings.variant
        return method.variant

    def canvas(self, image: Image) -> Image:
        """The image that muted pixels show in the metrics."""
        if self.fill == "run" or self.model.preprocess is None:
            return self.settings.masking.fill_like(image)
        return self.model.preprocess.black().to(image).expand_as(image)
