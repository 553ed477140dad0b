"""The front door: a model and a photo in, an explanation out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from scorecam.backends import opening
from scorecam.bank.bank import ScoreBank
from scorecam.base.wording import excerpt, summary
from scorecam.budget.plan import BudgetSpec
from scorecam.cam import Masking, Variant, find_variant
from scorecam.errors import SettingError, TargetError
from scorecam.explanation import Explanation
from scorecam.images.photo import read
from scorecam.io.arguments import function
from scorecam.model.batches import BatchSize
from scorecam.model.inputs import check_batch, is_several, one_image
from scorecam.model.model import Inputs, Layer, Model, TargetSpec
from scorecam.model.runtimes import Precision, Runtime
from scorecam.scoring.banks import make_bank, make_banks
from scorecam.scoring.progress import Progress
from scorecam.settings import Settings
from scorecam.shapes import Heatmaps, Images

TOGETHER = 16
"""Images whose masks share batches: more fill them no better, and every bank takes memory."""

Photo = str | os.PathLike[str] | Image.Image | np.ndarray[Any, Any]


class ScoreCAM:
    """Score-CAM for one model, one layer and one variant.

    Nothing is attached to the model between calls, so it may be used with or without `with`.

    Args:
        model: from `open_model`, or a `torch.nn.Module`.
        layer: its name, or the module; None for the default (see `layers`).
        variant: how the answers become weights.
        budget: how many masks are put to the model: "exact" for all, "fast" for the few that the
            map needs, or a count. What the others would have scored is predicted.
        tolerance: the largest error of the scaled map that is accepted, instead of a budget.
        precision: what masked images are scored in; "auto" for the fastest that stays close.
        runtime: what scores them; "auto" for the fastest that agrees with the model.
        masking: how activations become masks.
        batch_size: masked images per pass; "auto" starts from what suits the device, and every
            size is halved when memory runs out. Results never depend on it.
        seed: for what is drawn to estimate the error of a reduced budget.
        progress: called as masked images are scored.
    """

    def __init__(
        self,
        model: Model | nn.Module,
        layer: str | nn.Module | None = None,
        variant: str | Variant = "official",
        *,
        budget: BudgetSpec = "exact",
        tolerance: float | None = None,
        precision: Precision = "float32",
        runtime: Runtime = "auto",
        masking: Masking | None = None,
        batch_size: BatchSize = "auto",
        seed: int = 0,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.model = opening.as_model(model)
        self.layer = layer
        self.settings = Settings(
            variant=find_variant(variant),
            budget=budget,
            tolerance=tolerance,
            precision=precision,
            runtime=runtime,
            masking=Masking() if masking is None else masking,
            batch_size=batch_size,
            seed=seed,
        )
        self.progress = function("progress", progress, "scorecam.Progress")

    @summary
    def __repr__(self) -> Iterator[str]:
        yield excerpt(self.model.spec)
        if isinstance(self.layer, nn.Module):
            yield f"layer {type(self.layer).__name__}"
        else:
            yield "default layer" if self.layer is None else f"layer {excerpt(self.layer, 60)}"
        settings = self.settings
        yield excerpt(settings.variant.name, 60)
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
                the images. An input as long as the batch belongs to the images row by row, unless
                the network answers as before only if they share it; where that cannot be told,
                nothing is explained.
            target: for all images, or a list with one per image: an index, a class name, a function
                of the model's output that returns one number per image, or None for the
                prediction.

        Returns:
            `b *i` float32, at least 0, not scaled, on the device of `x`.

        Raises:
            TargetError: there is no such class, or the list has another length than the batch.
            LayerError, ModelError, SettingError, MemoryShortage: see `explain`.
        """
        if is_several(x):
            images, models = self.model.split_inputs(x)
            check_batch(images, self.model)
            targets = _one_per_image(target, len(images))
            models = self.model.confirmed(x, models)
            return torch.cat(
                [
                    self._maps(model, images[i : i + 1], [targets[i]])
                    for i, model in enumerate(models)
                ]
            )
        x = check_batch(x, self.model)
        return self._maps(self.model, x, _one_per_image(target, len(x)))

    def bank(self, image: Inputs, target: TargetSpec = None) -> ScoreBank:
        """Everything the model answers about one image, for every class and variant.

        Args:
            image: `c *i` (or `1 c *i`), preprocessed; or several inputs with a batch of one.
            target: a class that must be there, looked up before any mask is asked about; or a
                function of the output, to be scored instead of the model's own columns.
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
        maps = torch.empty((len(x), *x.shape[2:]), dtype=torch.float32, device=x.device)
        for rows in _batches(targets):
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
                column = None if callable(target) else target
                maps[i] = bank.heatmap(column, self.settings.variant)
        return maps


def _batches(targets: Sequence[TargetSpec]) -> Iterator[list[int]]:
    """The images that are explained together, by number: those of one target function, or none."""
    readouts = [target if callable(target) else None for target in targets]
    for readout in {id(readout): readout for readout in readouts}.values():
        same = [i for i, other in enumerate(readouts) if other is readout]
        for start in range(0, len(same), TOGETHER):
            yield same[start : start + TOGETHER]


def explain(
    model: Model | nn.Module,
    image: Photo | Inputs,
    target: TargetSpec = None,
    *,
    layer: str | nn.Module | None = None,
    variant: str | Variant = "official",
    budget: BudgetSpec = "exact",
    tolerance: float | None = None,
    precision: Precision = "float32",
    runtime: Runtime = "auto",
    masking: Masking | None = None,
    batch_size: BatchSize = "auto",
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Explanation:
    """Explain what a model saw in one image.

    Args:
        model: from `open_model`, or a `torch.nn.Module`.
        image: a file, a PIL image or an array (`h w 3` uint8, or float in [0, 1]), preprocessed as
            the model says; or a tensor, `c *i` or `1 c *i`, already preprocessed; or several
            inputs, by name or in order, with a batch of one.
        target: an index, a class name, a function of the model's output that returns one number
            per image, or None for the prediction.
        layer: its name, or the module; None for the default (see `layers`).
        variant: "official", "algorithm1", "increase", "literal", "consensus", or a `Variant`.
        budget: "exact" asks about every mask; "fast" about the few that this map needs (some 50 of
            1000), a count about so many. What the others would have scored is predicted, and
            `error` says how far the map may be off.
        tolerance: the largest absolute error of the scaled map that is accepted, such as 0.02;
            as many masks are asked about as that takes. Instead of a budget.
        precision: what masked images are scored in: "float32", "bfloat16", "float16", or "auto" for
            the fastest whose map stays within 0.05 of float32's on a probe of a few masks.
            Activations, weights and maps are float32 in any case.
        runtime: what scores them: "eager" is the network itself, "openvino" and "compile" convert
            it once per process; "auto" takes the fastest that pays and agrees with it to 1e-4.
        masking: how activations become masks.
        batch_size: masked images per pass, or "auto".
        seed: for the maps that are drawn to estimate the error.
        progress: called as masked images are scored; with a reduced budget, it is given the map as
            far as it is known.

    Returns:
        The explanation; other classes and variants are read from it without the model.

    Raises:
        PhotoError: the photo cannot be read, or the model's preprocessing is not known.
        ModelError: the model fails, or answers with NaN.
        LayerError: there is no such layer, or it has no grid.
        TargetError: there is no such class.
        SettingError: an option makes no sense.
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
    )
    wanted = None if callable(target) else target
    if isinstance(image, Tensor | Mapping | Sequence) and not isinstance(image, str | bytes):
        bank = method.bank(image, target)
        x = one_image(image, method.model)[0] if isinstance(image, Tensor) else None
        return Explanation(bank, bank.target(wanted), method.settings.variant, x)
    preprocess = method.model.photo_preprocess()
    photo = read(image)
    x = preprocess(photo.image)
    bank = method.bank(x, target)
    said = (*photo.remarks, *bank.provenance.remarks)
    bank = dataclasses.replace(
        bank,
        view=preprocess.jpeg(photo.image),
        provenance=dataclasses.replace(bank.provenance, remarks=said),
    )
    return Explanation(
        bank,
        bank.target(wanted),
        method.settings.variant,
        image=x,
        photo=photo.image,
        preprocess=preprocess,
    )


def layers(model: Model | nn.Module, image: Tensor | None = None) -> list[Layer]:
    """The layers that can be explained, in the order they run.

    Args:
        model: from `open_model`, or a `torch.nn.Module`.
        image: `c *i` or `1 c *i`; grids depend on its size. None where the model brings its own
            preprocessing, and so its size.

    Returns:
        Name, grid, channels and layout of each; which one is the default, and why.
    """
    opened = opening.as_model(model)
    if image is not None:
        return opened.layers(one_image(image, opened))
    preprocess = opened.preprocess
    if preprocess is None:
        raise SettingError(
            "The size of the model's input is not known, and a layer's grid depends on it.",
            do="Give an image, scorecam.layers(model, torch.zeros(3, 224, 224)); or the model's "
            "preprocessing (--preprocess).",
        )
    blank = torch.zeros(1, len(preprocess.mean), *preprocess.size, dtype=torch.float32)
    return opened.layers(blank)


def _one_per_image(target: TargetSpec | Sequence[TargetSpec], images: int) -> list[TargetSpec]:
    many = not isinstance(target, str) and isinstance(target, Sequence | Tensor | np.ndarray)
    if not many or getattr(target, "ndim", 1) == 0:
        return [cast(TargetSpec, target)] * images
    targets = list(cast(Sequence[TargetSpec], target))
    if len(targets) != images:
        raise TargetError(
            f"{len(targets)} targets were given for {images} images.",
            do="Give one target for all images, or a list with one per image.",
        )
    return targets
