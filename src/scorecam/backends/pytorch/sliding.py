"""Images larger than the network's input, in overlapping windows.

The network runs on each window. Its outputs and the activations of its layers are stitched in the
large image, and the scores are read from the stitched output. So masks, scores and map belong to
the whole image, and no window is explained alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor

from scorecam.backends.pytorch.model import TorchModel
from scorecam.base.wording import quoted
from scorecam.cam import Head
from scorecam.errors import ModelError, SettingError
from scorecam.images.full_size import FullSize
from scorecam.images.preprocess import Preprocess
from scorecam.images.preprocessing import Preprocessing
from scorecam.images.reading import Reading
from scorecam.io.arguments import choice
from scorecam.model.model import Inputs, Layer, Model, Task
from scorecam.model.readout import Readout, find_scores, read
from scorecam.model.task_columns import TaskColumns
from scorecam.model.windows import Blend, Windows
from scorecam.shapes import BatchedActivations, BatchedScores, Images

Combine = Literal["mean", "max"]


def sliding_window(
    model: Model,
    window: int | Sequence[int] | Any,
    *,
    overlap: float = 0.25,
    blend: Blend = "gaussian",
    combine: Combine = "mean",
) -> Model:
    """A model of images that are larger than the network's input.

    Its cost is one pass per window for every mask.

    Args:
        model: from `open_model`. If its output has the image's axes (`b n *i`), as that of a
            segmentation network, its `output=` function reads the stitched output.
        window: the size of the windows along each axis of the image, or one number for all; or a
            `SlidingWindowInferer` of MONAI, whose size, overlap and blending are used.
        overlap: of neighbouring windows, as a part of the window, in [0, 1).
        blend: weights in the overlap: "gaussian", or "constant".
        combine: how the scores of the windows of a classifier become those of the image: their
            "mean", or the "max" over the windows for each column.

    Raises:
        SettingError: a value is not valid, or the model has several inputs.
    """
    if not isinstance(model, TorchModel):
        raise SettingError(
            f"Windows need a network of PyTorch, and {quoted(model)} is none.",
            likely="It is a file of another format, or a module that was not opened.",
            do="Open the module with scorecam.open_model first. Without windows, large images are "
            "resized by the preprocessing.",
        )
    if hasattr(window, "roi_size"):
        window, overlap, blend = _of_monai(window)
    sizes: Any = (window,) * model.axes if isinstance(window, int) else window
    sizes = tuple(sizes) if isinstance(sizes, Sequence) else ()
    if len(sizes) != model.axes or not all(isinstance(n, int) and n > 0 for n in sizes):
        raise SettingError(
            f"window={quoted(window)} is not a size of windows.",
            do=f"Give one number per axis of the image, {model.axes} in all.",
        )
    if not (isinstance(overlap, int | float) and 0 <= overlap < 1):
        raise SettingError(
            f"overlap={quoted(overlap)} is not in [0, 1).", do="Give a part of the window: 0.25."
        )
    choice("blend", blend, ("gaussian", "constant"))
    choice("combine", combine, ("mean", "max"))
    raw = _Flat()
    return SlidingModel(
        inner=replace(model, readout=raw),
        raw=raw,
        windows=Windows(sizes, overlap, blend),
        combine=combine,
        readout=model.readout,
        names=model.names,
        head=model.head,
    )


# ── the model ────────────────────────────────────────────────────────────────────────────────────


def _of_monai(inferer: Any) -> tuple[Any, float, Blend]:
    """The size, the overlap and the blending of MONAI's inferer."""
    return inferer.roi_size, inferer.overlap, getattr(inferer.mode, "value", inferer.mode)


@dataclass(frozen=True, eq=False)
class _Flat:
    """The readout of one window: the whole output, and its shape without the batch."""

    shape: list[int] = field(default_factory=list[int])

    def __call__(self, output: Any) -> Tensor:
        values = find_scores(output)
        values = values[:, None] if values.ndim == 1 else values
        self.shape[:] = values.shape[1:]
        return values.flatten(1)


@dataclass(frozen=True, eq=False, repr=False)
class SlidingModel(Model):
    """A network that runs on windows of an image. Use `sliding_window` to make one.

    Args:
        inner: the network, of one window; its scores are its whole output.
        raw: reads that output.
        windows: where they are.
        combine: of a classifier's windows.
        readout: of the stitched output.
    """

    inner: TorchModel
    raw: _Flat
    windows: Windows
    combine: Combine
    readout: Readout
    names: tuple[str, ...] | None = None
    head: Head | Literal["auto"] = "auto"
    task: Task | None = None
    task_columns: TaskColumns | None = None

    @property
    def spec(self) -> str:  # type: ignore[override]
        size = "×".join(map(str, self.windows.size))
        return f"{self.inner.spec}, in windows of {size}"

    @property
    def remarks(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.inner.remarks

    @property
    def reading(self) -> Reading:  # type: ignore[override]
        return self.inner.reading

    @property
    def preprocess(self) -> Preprocessing | None:  # type: ignore[override]
        known = self.inner.preprocess
        if not isinstance(known, Preprocess):
            return None
        height, width = self.windows.size
        return FullSize(known, (height, width))

    @property
    def axes(self) -> int:
        return self.inner.axes

    @property
    def device(self) -> torch.device:
        return self.inner.device

    @property
    def precision(self) -> str:
        return self.inner.precision

    @property
    def runtimes(self) -> tuple[str, ...]:
        return self.inner.runtimes[:1]

    def versions(self) -> Mapping[str, str]:
        return self.inner.versions()

    def fingerprint(self) -> str:
        return self.inner.fingerprint()

    def layers(self, images: Images) -> list[Layer]:
        _, first = next(self.windows.parts(images))
        return [
            replace(layer, grid=self.windows.grid(layer.grid, images.shape[2:]))
            for layer in self.inner.layers(first)
        ]

    def find_layer(self, layer: object, images: Images) -> str:
        return self.inner.find_layer(layer, next(self.windows.parts(images))[1])

    def layer_remark(self, layer: str, images: Images) -> str:
        return self.inner.layer_remark(layer, next(self.windows.parts(images))[1])

    def activations(self, images: Images, layer: str) -> tuple[BatchedActivations, BatchedScores]:
        maps: list[tuple[tuple[int, ...], Tensor]] = []
        outputs: list[tuple[tuple[int, ...], Tensor]] = []
        for start, part in self.windows.parts(images):
            some, output = self.inner.activations(part, layer)
            maps.append((start, some))
            outputs.append((start, output))
        return self.windows.stitched(maps, images.shape[2:]), self._read(outputs, images)

    def scores(self, images: Images) -> BatchedScores:
        parts = self.windows.parts(images)
        return self._read([(start, self.inner.scores(part)) for start, part in parts], images)

    def _read(
        self, outputs: Sequence[tuple[tuple[int, ...], Tensor]], images: Images
    ) -> BatchedScores:
        """The scores of images, from the flat outputs of their windows."""
        shape = self.raw.shape
        shaped = [(start, values.unflatten(1, shape)) for start, values in outputs]
        if len(shape) == 1:
            every = torch.stack([values for _, values in shaped])
            whole = every.mean(0) if self.combine == "mean" else every.amax(0)
        elif len(shape) == 1 + self.axes:
            whole = self.windows.stitched(shaped, images.shape[2:])
        else:
            raise ModelError(
                f"The network's output for a window has the shape {tuple(shape)}.",
                likely="It has neither one number per class nor the axes of the image.",
                do="Wrap the network in a module that returns scores, or one map per class.",
            )
        return read(whole, self.readout, len(images))

    def with_readout(self, readout: Readout) -> SlidingModel:
        changed = self.inner.with_readout(readout)
        model = replace(self, readout=readout, task=None, task_columns=None)
        return replace(model, names=changed.names, head=changed.head)

    def split_inputs(self, inputs: Inputs) -> NoReturn:  # noqa: ARG002
        raise SettingError(
            "Windows are only known for networks with one input.",
            do="Cut the windows yourself, and explain one at a time.",
        )
