"""From images to banks: score the masks of each image and keep the scores."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scorecam.bank.bank import Provenance, ScoreBank
from scorecam.base.wording import LONGEST_PARAGRAPH, one_line, quoted
from scorecam.errors import ModelError, SettingError
from scorecam.model.batches import Batches, first_batch_size, with_layer
from scorecam.model.columns import two_names, two_sided
from scorecam.model.engine import Engine
from scorecam.model.head import check_declared
from scorecam.model.model import Model
from scorecam.model.target import find_column
from scorecam.model.task_columns import TaskColumns
from scorecam.model.variants import suited
from scorecam.scoring.mask_scorer import MaskScorer
from scorecam.scoring.masked_image import MaskedImage, prepare
from scorecam.scoring.probe import MaskProbe
from scorecam.scoring.progress import OnProgress
from scorecam.scoring.repeatability import Repeatability, repeatability
from scorecam.scoring.selection import MaskScores, expected_masks, score_masks
from scorecam.settings import Settings
from scorecam.shapes import Images


def score(
    model: Model,
    images: Images,
    targets: Sequence[int | str | None],
    *,
    layer: str,
    settings: Settings,
    progress: OnProgress | None = None,
) -> list[ScoreBank]:
    """Score the masks of each image: those of every live channel, or a selection.

    This takes two passes per image, one for the fill, and one per distinct mask. The second pass
    of an image shares a batch with the fill and the first masks, to check whether the model repeats
    its scores; if it does not, two more passes show why. Finding the head takes one, two or
    eight more where every score is in [0, 1]. Comparing a faster runtime takes a few.

    Args:
        images: `b c *i`, preprocessed.
        targets: for each image, the class to explain, by index or name; None for the prediction. A
            wrong one is refused before any mask is scored.
        layer: the name of the layer whose activations become masks.
        settings: how masks are made, which of them are scored, and by what.
        progress: called before the first batch and as scores arrive.

    Returns:
        One bank per image.

    Raises:
        ModelError: the model fails, or a score of an image is not finite.
        LayerError: the layer has no grid, or did not run.
        TargetError: there is no such class.
        MemoryShortage: not even one image at a time fits.
    """
    began = time.perf_counter()
    if model.device.type == "meta":
        raise ModelError(
            "The model is on the device 'meta', where tensors hold no numbers.",
            do="Give its weights and another device.",
        )
    images = images.detach().to(model.device, torch.float32)
    batches = Batches(first_batch_size(settings.batch_size, images))
    masked = prepare(model, images, layer, masking=settings.masking, batches=batches)
    layer = model.find_layer(layer, images)  # after a pass, it is known which call of it is meant
    seconds = (time.perf_counter() - began) / len(images)
    _check_names(model, len(masked[0].scores))
    check_declared(model.head, torch.stack([image.scores for image in masked]))
    columns = [
        find_column(model, target, image.scores)
        for target, image in zip(targets, masked, strict=True)
    ]
    engine = _engine(model, masked, settings, seconds)
    if settings.batch_size == "auto":
        own = with_layer(batches.size, masked[0].activations)
        batches.prefer(own if engine.batch is None else engine.batch)
    scorer = MaskScorer(model, engine, settings.masking, batches=batches, progress=progress)
    scores = score_masks(scorer, masked, columns, settings)
    checks = [repeatability(engine, *pair) for pair in zip(masked, scores, strict=True)]
    for mask_scores in scores:
        check_declared(model.head, mask_scores.scores)
    run = _Run(
        model,
        layer,
        settings,
        engine=engine,
        batch_size=batches.size,
        seconds=(time.perf_counter() - began) / len(images),
    )
    return [run.bank(*parts) for parts in zip(masked, scores, checks, strict=True)]


def _check_names(model: Model, columns: int) -> None:
    if columns == 1 and model.head != "value" and len(model.names or ()) <= 2:
        return  # a yes-or-no answer has two names for its one column
    if model.names is not None and len(model.names) != columns:
        raise SettingError(
            f"There are {len(model.names)} class names, but the model has {columns} columns.",
            likely="The names may belong to another model, or the file may have a header or an "
            "empty line.",
            do="Give one name per column with labels= (--labels), in the model's order.",
        )


def _engine(
    model: Model, images: Sequence[MaskedImage], settings: Settings, seconds: float
) -> Engine:
    """The engine that scores the masked images.

    Args:
        seconds: the time the model takes for one image.
    """
    passes = expected_masks(images, settings.plan)
    probe = MaskProbe(
        model, images[0], settings.masking, passes=passes, seconds=seconds, others=images[1:]
    )
    return model.engine(settings.speed, probe)


@dataclass(frozen=True)
class _Run:
    """What the banks of one call have in common.

    Args:
        batch_size: after any halving.
        seconds: of each image.
    """

    model: Model
    layer: str
    settings: Settings
    engine: Engine
    batch_size: int
    seconds: float

    def bank(self, image: MaskedImage, masked: MaskScores, check: Repeatability) -> ScoreBank:
        """The bank of one image."""
        head, found = masked.head.head, self.model.task_columns
        rows = _row_of_each_channel(image, masked.masks)
        scored = rows >= 0
        return ScoreBank(
            activations=image.activations,
            live=image.live,
            asked=image.live[scored],
            scores=two_sided(masked.scores[rows[scored]], head),
            image_scores=two_sided(image.scores[None], head)[0],
            fill_scores=two_sided(masked.fill[None], head)[0],
            size=tuple(image.image.shape[1:]),
            masking=self.settings.masking,
            head=head,
            names=two_names(self.model.names, len(image.scores), head),
            layer=self.layer,
            provenance=self._provenance(image, masked, check),
            boxes=None if found is None else found.boxes,
            masks=None if found is None else found.masks,
        )

    def _provenance(
        self, image: MaskedImage, masked: MaskScores, check: Repeatability
    ) -> Provenance:
        engine, settings, found = self.engine, self.settings, self.model.task_columns
        about_layer = self.model.layer_remark(self.layer, image.image[None])
        remarks = [
            *(found.remarks if found else ()),
            *engine.remarks,
            masked.head.remark,
            about_layer,
            _about_level(found, self.layer, image),
        ]
        # The image twice and the fill are three passes.
        passes = 3 + len(masked.masks) + masked.head.passes + check.passes + engine.probed
        passes += found.passes if found else 0
        return Provenance(
            model=self.model.spec,
            device=str(self.model.device),
            precision=engine.precision,
            forward_passes=passes,
            batch_size=self.batch_size,
            seconds=self.seconds,
            budget=settings.budget_text,
            runtime=engine.runtime,
            seed=0 if settings.exact else settings.seed,
            remarks=tuple(one_line(remark, LONGEST_PARAGRAPH) for remark in remarks if remark),
            unrepeated=check.unrepeated,
            mixed=check.mixed,
            auto=suited(masked.head.head, image.live_maps, found).name,
            backend=_in_words(self.model.versions()),
            task=found.task if found else "",
            unit=found.unit if found else "",
            column=found.column if found else -1,
            values=found.values if found else (),
        )


def _about_level(found: TaskColumns | None, layer: str, image: MaskedImage) -> str:
    """A sentence if the layer has the grid of the level that the task chose."""
    grid = None if found is None else found.grid
    if not isinstance(grid, tuple) or tuple(image.activations.shape[1:]) != grid:
        return ""
    return (
        f"The layer {quoted(layer)} has the grid of the level that the explained box came from, "
        f"{'×'.join(map(str, grid))}."
    )


def _in_words(versions: Mapping[str, str]) -> str:
    """The versions of libraries, such as "torch 2.13.0"."""
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return one_line(listed, LONGEST_PARAGRAPH)


def _row_of_each_channel(image: MaskedImage, masks: Tensor) -> Tensor:
    """For each live channel, the row of its mask among the scores; −1 where it was not scored."""
    rows = torch.full_like(image.first, -1)
    rows[masks] = torch.arange(len(masks), device=rows.device)
    return rows[image.inverse]
