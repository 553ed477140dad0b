"""Measurements of one map: properties that a trustworthy map has.

Each function returns a number for each code, or the reason why there is no number. No function uses
the probability of the class: a health note of the bank is about that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import combinations
from statistics import fmean, median

import torch

from scorecam.base.interpolation import upsample
from scorecam.cam import find_variant
from scorecam.errors import ModelError, SettingError
from scorecam.methods.controls import Centre
from scorecam.methods.method import Case
from scorecam.metrics.faithfulness import blend, shown
from scorecam.model.model import Randomisable
from scorecam.scoring.banks import make_bank
from scorecam.settings import Settings
from scorecam.shapes import BatchedScores, Heatmap
from scorecam.trust.checked_map import CheckedMap, correlation, standing
from scorecam.trust.perturbations import least_important, mild_changes, without_object

Measured = float | str
"""A number, or the reason why there is none."""

OTHER_CLASSES = 5
"""The target's map is compared with those of this many other classes, the largest scores first."""

COMPARED_VARIANTS = ("official", "algorithm1", "increase")
"""Variants whose maps should agree."""

RANDOM_MAPS = 4
"""The number of random maps that the map is compared with."""

SHARES = (0.25, 0.5)
"""Shares of the pixels, most important first, that are shown alone and then removed."""

HEAD_MASKS = 12
"""Masks scored by the copy with a re-initialised last stage."""

HEAD_OTHER_PASSES = 3 + 2 + 8 + 2
"""The copy's other passes, at most: the image twice and the empty image, the order of the stages,
the head, and whether outputs repeat."""


# ── from the bank, without passes ────────────────────────────────────────────────────────────


def contrast(checked: CheckedMap) -> Mapping[str, Measured]:
    """The mean correlation of the target's map with those of the five next classes."""
    bank, explanation = checked.bank, checked.explanation
    columns = range(len(bank.image_scores)) if bank.columns is None else bank.columns.tolist()
    scores = bank.image_scores.tolist()
    others = sorted(
        (column for column in columns if column != checked.target),
        key=scores.__getitem__,
        reverse=True,
    )
    if bank.head == "value" and len(scores) == 1:
        return {"contrast": "There is one column, and no other to compare it with."}
    if not others:
        return {"contrast": "The bank was saved without any other column."}
    maps = [bank.heatmap(other, explanation.variant) for other in others[:OTHER_CLASSES]]
    return {"contrast": fmean(correlation(explanation.heatmap, other) for other in maps)}


def agreement(checked: CheckedMap) -> Mapping[str, Measured]:
    """The mean correlation between the variants' maps; constant maps are left out."""
    maps = [checked.bank.heatmap(checked.target, variant) for variant in COMPARED_VARIANTS]
    maps = [heatmap for heatmap in maps if heatmap.amax() > heatmap.amin()]
    if len(maps) < 2:
        return {"agreement": "The other variants' maps are constant."}
    return {"agreement": fmean(correlation(one, other) for one, other in combinations(maps, 2))}


def outstanding(checked: CheckedMap) -> Mapping[str, Measured]:
    """How far the target's score stands out from all scores (see `standing`)."""
    if checked.incomparable:
        return {"standing": checked.incomparable}
    value = standing(checked.image_columns, checked.target)
    return {"standing": 0.0 if math.isnan(value) else value}


# ── with passes through the model ────────────────────────────────────────────────────────────


def steadiness(checked: CheckedMap) -> Mapping[str, Measured]:
    """How much mild changes of the image change the scores and the map, as correlations.

    steady: of the scores with those of the original image. moves: of the map with that of the
    changed image, by the same weights, mapped back. follows: the same with the weights minus their
    mean, without the part of the map that all classes share. All are medians over the changes,
    because sensitivity to one kind of change is not a reason to doubt a map.
    """
    changes = mild_changes(checked.image, checked.seed)
    images = torch.stack([change.image for change in changes])
    variants = checked.explanation.variant, find_variant("centred")
    columns, maps = checked.columns_and_maps(images, variants)
    own = [checked.weighted(checked.bank.activations.to(images.device), each) for each in variants]
    moves, follows = (
        median(
            correlation(one, change.undo(other))
            for change, other in zip(changes, moved, strict=True)
        )
        for one, moved in zip(own, maps, strict=True)
    )
    measured: dict[str, Measured] = {"moves": moves, "follows": follows}
    if variants[0] == variants[1]:
        measured["follows"] = "The map is the centred map, so this is the same as moves."
    elif not own[1].amax() > own[1].amin():
        measured["follows"] = "The centred map is constant."
    return {"steady": _similarity(checked, columns, median)} | measured


def steadiness_passes(checked: CheckedMap) -> int:
    """One pass for each change."""
    return 3 + 2 * len(checked.bank.size)


def elsewhere(checked: CheckedMap) -> Mapping[str, Measured]:
    """The correlation of the scores of the least important part with those of the image."""
    if checked.incomparable:
        return {"elsewhere": checked.incomparable}
    heatmap = checked.explanation.heatmap.to(checked.image.device)
    columns = checked.columns(least_important(checked.image, heatmap)[None])
    return {"elsewhere": _similarity(checked, columns, fmean)}


def elsewhere_passes(checked: CheckedMap) -> int:
    """One pass; 0 if columns cannot be correlated."""
    return 0 if checked.incomparable else 1


def blindness(checked: CheckedMap) -> Mapping[str, Measured]:
    """The correlation of the scores of images without the object with those of the image."""
    if checked.incomparable:
        return {"blind": checked.incomparable}
    columns = checked.columns(torch.stack(without_object(checked.image, checked.seed)))
    return {"blind": _similarity(checked, columns, fmean)}


def blindness_passes(checked: CheckedMap) -> int:
    """One pass for each image without the object; 0 if columns cannot be correlated."""
    return 0 if checked.incomparable else 4


def _similarity(
    checked: CheckedMap, columns: BatchedScores, average: Callable[[list[float]], float]
) -> Measured:
    """The average correlation of scores with those of the image."""
    if checked.incomparable:
        return checked.incomparable
    if not columns.isfinite().all():
        return "The model's scores of changed images are not finite."
    return average([correlation(checked.image_columns, each) for each in columns])


def faithfulness(checked: CheckedMap) -> Mapping[str, Measured]:
    """How much more the map's most important pixels matter than those of other maps.

    F is the target's lead over the other columns with only a quarter and half of the pixels shown,
    minus its lead with them removed, divided by the image's lead minus the empty image's.
    random: F minus its mean over four random maps. centre: F minus the F of a centred Gaussian.
    rest: the correlation of the scores with the image's after removing the most important half.
    """
    heatmaps = _compared_maps(checked)
    images = torch.cat([_shown_and_removed(checked, heatmap) for heatmap in heatmaps])
    columns = checked.columns(images).reshape(len(heatmaps), 2, len(SHARES), -1)
    rest = {"rest": _similarity(checked, columns[:1, 1, -1], fmean)}
    leads = checked.lead(columns)
    ends = checked.lead(checked.columns(torch.stack([checked.image, checked.empty])))
    whole = abs(float(ends[0] - ends[1]))
    if not (leads.isfinite().all() and 0 < whole < math.inf):
        why = "The scores of the image and the empty image are equal, or not finite."
        return {"random": why, "centre": why} | rest
    faithful = ((leads[:, 0] - leads[:, 1]).mean(dim=1) / whole).tolist()
    return {
        "random": faithful[0] - fmean(faithful[1:-1]),
        "centre": faithful[0] - faithful[-1],
    } | rest


def faithfulness_passes(checked: CheckedMap) -> int:
    """The passes for what every compared map shows and removes, the image and the empty image."""
    del checked
    return (2 + RANDOM_MAPS) * 2 * len(SHARES) + 2


def _compared_maps(checked: CheckedMap) -> list[Heatmap]:
    """The map, the random maps, and a Gaussian at the centre."""
    bank, image = checked.bank, checked.image
    generator = torch.Generator("cpu").manual_seed(checked.seed % 2**63)
    cells = torch.rand(
        RANDOM_MAPS,
        *bank.activations.shape[1:],
        generator=generator,
        device="cpu",
        dtype=torch.float32,
    )
    random = upsample(cells, bank.size).to(image.device)
    case = Case(
        checked.model,
        image,
        target=checked.target,
        layer=bank.layer,
        make_bank=lambda: bank,
        make_scorer=lambda: checked.scorer,
    )
    return [checked.explanation.heatmap.to(image.device), *random, Centre().heatmap(case)]


def _shown_and_removed(checked: CheckedMap, heatmap: Heatmap) -> torch.Tensor:
    """The image with only its most important pixels, and without them: `2 · shares c *i`."""
    kept = torch.stack([shown(heatmap, 1 - share, soft=False) for share in SHARES])
    return blend(checked.image, torch.cat([kept, 1 - kept]), checked.empty)


def head_dependence(checked: CheckedMap) -> Mapping[str, Measured]:
    """The map's correlation with the map of a copy with a re-initialised last stage."""
    model, bank, variant = checked.model, checked.bank, checked.explanation.variant
    if not isinstance(model, Randomisable):
        return {"head": f"The backend that runs {model.spec} cannot re-initialise its weights."}
    image = checked.image[None]
    try:
        stages = model.stages(image)
        if not stages:
            return {"head": f"{model.spec} has no weights to re-initialise."}
        copy = model.randomised(stages[:1], image, checked.seed)
        settings = Settings(
            variant=variant,
            budget=HEAD_MASKS,
            runtime=copy.runtimes[0],
            masking=bank.masking,
            seed=checked.seed,
        )
        other = make_bank(copy, checked.image, checked.target, layer=bank.layer, settings=settings)
    except (ModelError, SettingError) as error:  # no copy, or it has another kind of output
        return {"head": str(error)}
    checked.count(2 + other.provenance.forward_passes)  # two to find the stages
    own = checked.explanation.heatmap.to(image.device)
    return {"head": correlation(own, other.heatmap(checked.target, variant))}


def head_passes(checked: CheckedMap) -> int:
    """The passes through the copy, at most."""
    del checked
    return HEAD_MASKS + HEAD_OTHER_PASSES
