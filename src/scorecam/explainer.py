"""The front door: a model and a photo in, an explanation out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
import PIL.Image
import torch
from torch import Tensor, nn

from scorecam.backends import opening
from scorecam.bank.bank import ScoreBank
from scorecam.base.wording import excerpt, summary
from scorecam.budget.plan import BudgetSpec
from scorecam.cam import Masking, Variant
from scorecam.explanation.explanation import Explanation
from scorecam.images.preprocessing import Preprocessing
from scorecam.images.reading import ReadInput
from scorecam.io.arguments import function, tensor
from scorecam.model.batches import BatchSize
from scorecam.model.inputs import (
    check_batch,
    check_numbers,
    fitted,
    is_several,
    one_image,
)
from scorecam.model.model import Inputs, Layer, Model, TargetSpec, Task
from scorecam.model.offers import check_offered
from scorecam.model.place import is_place, place_in_input
from scorecam.model.target import check_target
from scorecam.model.variants import check_variant, name_of
from scorecam.scoring.alone import fitted_alone
from scorecam.scoring.banks import column_of, fitted_image, make_bank, make_banks, with_target
from scorecam.scoring.blank import blank, with_columns
from scorecam.scoring.progress import Progress
from scorecam.scoring.targets import batches_of, one_per_image
from scorecam.settings import Settings
from scorecam.shapes import Heatmaps, Images

Photo = str | os.PathLike[str] | PIL.Image.Image | np.ndarray[Any, Any]


class ScoreCAM:
    """Score-CAM for one model, one layer and one variant.

    Nothing is attached to the model between calls. It can be used with or without `with`.

    Args:
        model: from `open_model`, or a `torch.nn.Module`.
        layer: its name, or the module; None for the default (see `layers`).
        variant: how scores become weights; "auto" for `centred` if the scores are values or the
            layer's activations have negative numbers, and `official` otherwise.
        budget: how many masks are scored: "exact" for all, "fast" for about 50, or a number. The
            scores of the others are predicted.
        tolerance: stop when the estimated error of the scaled map is below this. It replaces the
            budget.
        precision: the number format for masked images; "auto" for the fastest that stays close.
        runtime: what scores masked images; "auto" for the fastest that agrees with the model.
        masking: how activations become masks.
        batch_size: masked images per pass; "auto" starts with a size that suits the device. Every
            size is halved when memory runs out. Results do not depend on it.
        seed: of the samples that estimate the error of a reduced budget.
        progress: called as masked images are scored.
        task: what is explained, if not the classes: "detect", "segment", "similar", "regress",
            "multilabel" or "tokens", or a task with options from `scorecam.tasks`; None for the
            model's own.
    """

    def __init__(
        self,
        model: Model | nn.Module,
        layer: str | nn.Module | None = None,
        variant: str | Variant = "auto",
        *,
        budget: BudgetSpec = "exact",
        tolerance: float | None = None,
        precision: str = "float32",
        runtime: str = "auto",
        masking: Masking | None = None,
        batch_size: BatchSize = "auto",
        seed: int = 0,
        progress: Callable[[Progress], None] | None = None,
        task: str | Task | None = None,
    ) -> None:
        self.model = opening.as_model(model)
        if task is not None:
            from scorecam.tasks.names import find_task  # not before a task is used

            self.model = self.model.with_task(find_task(task))
        self.layer = layer
        self.settings = Settings(
            variant=check_variant(variant),
            budget=budget,
            tolerance=tolerance,
            precision=precision,
            runtime=runtime,
            masking=Masking() if masking is None else masking,
            batch_size=batch_size,
            seed=seed,
        )
        check_offered(self.model, self.settings.speed)
        self.progress = function("progress", progress, "scorecam.Progress")

    @summary
    def __repr__(self) -> Iterator[str]:
        yield excerpt(self.model.spec)
        if isinstance(self.layer, nn.Module):
            yield f"layer {type(self.layer).__name__}"
        else:
            yield "default layer" if self.layer is None else f"layer {excerpt(self.layer, 60)}"
        settings = self.settings
        yield excerpt(name_of(settings.variant), 60)
        budget = settings.budget_text
        yield budget if settings.tolerance is not None else f"budget {budget}"
        yield f"runtime {settings.runtime}"
        yield f"precision {settings.precision}"
        if settings.masking != Masking():
            yield repr(settings.masking)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def __call__(self, x: Inputs, target: TargetSpec | Sequence[TargetSpec] = None) -> Heatmaps:
        """One heatmap per image.

        Args:
            x: `b c *i`, preprocessed; or several inputs, by name or in order, one of which is
                the images. An input with one row per image is split among the images, unless the
                network's scores show that all images share it. If that is unclear, an error is
                raised.
            target: for all images, or a list with one per image: an index, a class name, a function
                of the model's output that returns one number per image, or None for the
                prediction.

        Returns:
            `b *i` float32, at least 0, not scaled, on the device of `x`.

        Raises:
            TargetError: there is no such class, or the list is not as long as the batch.
            LayerError, ModelError, SettingError, MemoryShortage: see `explain`.
        """
        if self.model.task is not None and self.model.task.adds_inputs:
            alone = fitted_alone(self.model, x, target, run=self.layer is None)
            return torch.cat([self._maps(model, image, [own]) for image, model, own in alone])
        if is_several(x):
            return self._maps_of_several(x, target)
        targets = one_per_image(target, len(x) if tensor(x).ndim else 1)
        for each in targets:
            check_target(self.model, column_of(self.model, each))  # before the model may run
        first = targets[0] if targets else None
        same = callable(first) and all(each is first for each in targets)
        model = with_target(self.model, first) if same and callable(first) else self.model
        images, model = fitted(x, model, single=False, run=self.layer is None)
        return self._maps(model, images, targets)

    def _maps_of_several(
        self, x: Mapping[str, Tensor] | Sequence[Tensor], target: TargetSpec | Sequence[TargetSpec]
    ) -> Heatmaps:
        """One heatmap per image, each with its own part of the other inputs."""
        images, models = self.model.split_inputs(x)
        check_numbers(images)
        targets = one_per_image(target, len(images))
        maps: list[Heatmaps] = []
        for i, model in enumerate(self.model.confirmed(x, models)):
            each = fitted(images[i : i + 1], model, single=False, run=self.layer is None)
            maps.append(self._maps(each[1], each[0], [targets[i]]))
        return torch.cat(maps)

    def bank(self, image: Inputs, target: TargetSpec = None) -> ScoreBank:
        """The bank of one image, from which every class and variant can be read.

        Args:
            image: `c *i` or `1 c *i`, preprocessed; or several inputs with a batch of one.
            target: the class to explain, which is checked before any mask is scored; or a function
                of the output, which is scored instead of the model's own columns.
        """
        return make_bank(
            self.model,
            image,
            target,
            layer=self.layer,
            settings=self.settings,
            progress=self.progress,
        )

    def _maps(self, model: Model, x: Images, targets: Sequence[TargetSpec]) -> Heatmaps:
        check_batch(x, model)
        if model.task is not None and model.task_columns is None:  # each image has its own columns
            alone = zip(x.split(1), targets, strict=True)
            each = [self._maps(model.for_image(one, own), one, [own]) for one, own in alone]
            return torch.cat(each)
        maps = torch.empty((len(x), *x.shape[2:]), dtype=torch.float32, device=x.device)
        for rows in batches_of(targets):
            some = [targets[i] for i in rows]
            banks = make_banks(
                model,
                x[rows],
                some,
                layer=self.layer,
                settings=self.settings,
                progress=self.progress,
            )
            for i, bank, target in zip(rows, banks, some, strict=True):
                maps[i] = bank.heatmap(column_of(model, target), self.settings.variant)
        return maps


def explain(
    model: Model | nn.Module,
    image: Photo | Inputs,
    target: TargetSpec = None,
    *,
    layer: str | nn.Module | None = None,
    variant: str | Variant = "auto",
    budget: BudgetSpec = "exact",
    tolerance: float | None = None,
    precision: str = "float32",
    runtime: str = "auto",
    masking: Masking | None = None,
    batch_size: BatchSize = "auto",
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
    task: str | Task | None = None,
) -> Explanation:
    """Explain a model's score of one image.

    Args:
        model: from `open_model`, or a `torch.nn.Module`.
        image: a file, a PIL image or an array (`h w 3` uint8, or float in [0, 1]), to which the
            model's preprocessing is applied; or a tensor, `c *i` or `1 c *i`, already preprocessed;
            or several inputs, by name or in order, with a batch of one. A file of numbers (.npy,
            .npz, .safetensors, NIfTI, DICOM) is used as it is stored if the model has no
            preprocessing; one of several arrays holds several inputs.
        target: an index, a class name, a function of the model's output that returns one number
            per image, or None for the prediction. Some tasks also take a place in the picture: a
            point `(x, y)`, a box `(x1, y1, x2, y2)` or a mask, in pixels of the photo.
        layer: its name, or the module; None for the default (see `layers`).
        variant: how scores become weights: a name in `scorecam.VARIANTS`, or a `Variant`; "auto"
            for `centred` if the scores are values or the layer's activations have negative numbers,
            and `official` otherwise. The explanation's `variant` is the one that was used.
        budget: how many masks are scored: "exact" for all, "fast" for about 50 of 1000, or a
            number. The scores of the others are predicted, and the explanation's `error` estimates
            the error of the map.
        tolerance: stop when the estimated largest error of the scaled map is below this, for
            example 0.02. It replaces the budget.
        precision: the number format for masked images: one of `Model.precisions`, or "auto" for the
            fastest whose map stays within 0.05 of float32's on a few masks of the photos that are
            probed. "float32" leaves a model of another format as it is. Activations, weights and
            maps are always float32.
        runtime: what scores masked images: one of `Model.runtimes`. The first is the model itself;
            the others may convert it once per process. "auto" takes the fastest that is worth the
            conversion and agrees with the model to 1e-4.
        masking: how activations become masks.
        batch_size: masked images per pass, or "auto".
        seed: of the samples that estimate the error.
        progress: called as masked images are scored. With a reduced budget, it gets the map as
            estimated so far.
        task: what is explained, if not the classes: "detect" for boxes, "segment" for pixels,
            "similar" for embeddings, "regress" and "multilabel" for numbers, "tokens" for text, or
            such a task with options from `scorecam.tasks`; None for the model's own.

    Returns:
        The explanation. Other classes and variants can be read from it without the model.

    Raises:
        PhotoError: the photo cannot be read, or the model has no preprocessing.
        ModelError: the model fails, or its scores are not finite.
        LayerError: there is no such layer, or it has no grid.
        TargetError: there is no such class.
        SettingError: a setting is invalid.
        MemoryShortage: not even one masked image fits.
    """
    method = ScoreCAM(
        model,
        layer,
        variant,
        budget=budget,
        tolerance=tolerance,
        precision=precision,
        runtime=runtime,
        masking=masking,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
        task=task,
    )
    return _explained(method, image, target)


def _explained(method: ScoreCAM, image: Photo | Inputs, target: TargetSpec) -> Explanation:
    """The explanation of a photo, a file of numbers, or inputs of the network."""
    stored: ReadInput | None = None
    if isinstance(image, str | os.PathLike):
        from scorecam.images.input_files import read_several  # not before a file is read

        image = read_several(image) or image
    if not (isinstance(image, Tensor) or is_several(image)):
        stored = method.model.read(cast("Photo", image))
        image = stored.image
        target = _in_input(target, stored, method.model.preprocess)
    images, model = fitted_image(method.model, image, target, run=method.layer is None)
    [bank] = make_banks(
        model,
        images,
        [target],
        layer=method.layer,
        settings=method.settings,
        progress=method.progress,
    )
    explanation = Explanation(
        bank,
        bank.target(column_of(model, target)),
        bank.variant(method.settings.variant),
        image=images[0],
        form=model.form,
        task_columns=model.task_columns,
    )
    return explanation if stored is None else _placed(explanation, stored, method.model.preprocess)


def _in_input(
    target: TargetSpec, stored: ReadInput, preprocess: Preprocessing | None
) -> TargetSpec:
    """A place in a photo as a place in the model's input; any other target as it is."""
    if not is_place(target) or stored.photo is None or preprocess is None:
        return target
    return place_in_input(target, preprocess, stored.photo.size)


def _placed(
    explanation: Explanation, stored: ReadInput, preprocess: Preprocessing | None
) -> Explanation:
    """The explanation with what is known about the file."""
    bank, photo = explanation.bank, stored.photo
    remarks = *stored.remarks, *bank.provenance.remarks
    bank = dataclasses.replace(
        bank, provenance=dataclasses.replace(bank.provenance, remarks=remarks)
    )
    explanation = dataclasses.replace(explanation, bank=bank, spacing=stored.spacing)
    if photo is None or preprocess is None:
        return explanation
    explanation = dataclasses.replace(
        explanation, bank=dataclasses.replace(bank, view=preprocess.jpeg(photo))
    )
    if preprocess.placement(photo.size) is None:
        return explanation
    return dataclasses.replace(explanation, photo=photo, preprocess=preprocess)


def layers(model: Model | nn.Module, image: Inputs | None = None) -> list[Layer]:
    """The layers that can be explained, in the order they run.

    Args:
        model: from `open_model`, or a `torch.nn.Module`.
        image: `c *i` or `1 c *i`, on whose size grids depend; or several inputs with a batch of
            one. None for the size that the model or its preprocessing states. A task looks for its
            answers in it.

    Returns:
        The name, grid, channels and layout of each layer; which is the default, and why.
    """
    opened = opening.as_model(model)
    inputs = blank(opened) if image is None else image
    if is_several(inputs):
        images, models = opened.split_inputs(inputs)
        images, opened = fitted(images, models[0], single=False, run=True)
    else:
        images, opened = one_image(inputs, opened, run=opened.task is None)
    return with_columns(opened, images, blank=image is None).layers(images)
