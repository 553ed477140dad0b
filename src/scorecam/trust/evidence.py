"""The evidence: one number for each thing that a map to be believed should show.

Each function returns the number, or the reason why it cannot be had. None looks at how probable
the model finds the class: that is one of the bank's own health notes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import combinations
from statistics import fmean, median

import torch

from scorecam.base.interpolation import upsample
from scorecam.errors import ModelError, SettingError
from scorecam.methods.controls import Centre
from scorecam.methods.method import Case
from scorecam.metrics.masks import blend, shown
from scorecam.model.model import WhiteBox
from scorecam.scoring.banks import make_bank
from scorecam.settings import Settings
from scorecam.shapes import BatchedScores, Heatmap
from scorecam.trust.perturbations import least, mild, without_object
from scorecam.trust.subject import Subject, alike, standing

Found = float | str
"""What was measured, or why it cannot be told."""

FEW = "The model has {} columns: too few to compare them with each other."
RIVALS = 5
"""Classes with which the target's map is compared: the largest others."""

VIEWS = ("official", "algorithm1", "increase")
"""Variants that should agree."""

CONTROLS = 4
"""Random maps."""

SHARES = (0.25, 0.5)
"""Of the pixels, the most important, that are shown alone and taken away."""

HEAD_MASKS = 12
"""Masks that the network with a random head is asked about."""

HEAD_BESIDE = 3 + 2 + 8 + 2
"""What that takes beside them, at most: the image twice and the empty one, the order of the stages,
what the numbers are, and whether it repeats itself."""

PROBED = 8
"""Images by which a faster runtime shows that it agrees, at most."""


def measure(subject: Subject, codes: frozenset[str]) -> dict[str, Found]:
    """Every evidence of these codes, in the order of `MEASURES`.

    Raises:
        ModelError: the explanation is another model's, or the model fails.
    """
    found: dict[str, Found] = {}
    if codes & ASKING:
        subject.meet()
    for group, measured in MEASURES.items():
        if codes & set(group):
            found |= {code: value for code, value in measured(subject).items() if code in codes}
    return found


# ── from the bank, free ──────────────────────────────────────────────────────────────────────


def contrast(subject: Subject) -> Mapping[str, Found]:
    """How alike the target's map and those of the five largest other classes are, in [−1, 1]."""
    bank, explanation = subject.bank, subject.explanation
    here = range(len(bank.image_scores)) if bank.columns is None else bank.columns.tolist()
    scores = bank.image_scores.tolist()
    others = sorted((i for i in here if i != subject.target), key=scores.__getitem__, reverse=True)
    if bank.head == "value" and len(scores) == 1:
        return {"contrast": "The model has one output: there is no other class."}
    if not others:
        return {"contrast": "The bank was saved without any other class."}
    maps = [bank.heatmap(other, explanation.variant) for other in others[:RIVALS]]
    return {"contrast": fmean(alike(explanation.heatmap, other) for other in maps)}


def agreement(subject: Subject) -> Mapping[str, Found]:
    """How alike the maps of the variants are, on average, in [−1, 1].

    A variant's map that is the same everywhere says nothing, and is left out.
    """
    maps = [subject.bank.heatmap(subject.target, variant) for variant in VIEWS]
    maps = [each for each in maps if each.amax() > each.amin()]
    if len(maps) < 2:
        return {"agreement": "The other variants' maps are the same everywhere."}
    return {"agreement": fmean(alike(one, other) for one, other in combinations(maps, 2))}


def outstanding(subject: Subject) -> Mapping[str, Found]:
    """How far the target stands out of all columns (see `standing`)."""
    if not subject.comparable:
        return {"standing": FEW.format(len(subject.answer))}
    found = standing(subject.answer, subject.target)
    return {"standing": 0.0 if math.isnan(found) else found}


# ── by asking the model ──────────────────────────────────────────────────────────────────────


def steadiness(subject: Subject) -> Mapping[str, Found]:
    """What mild changes do to the answer and to the map, both as correlations in [−1, 1].

    steady: of the columns' scores with those of the picture itself; moves: of the map with the one
    that the same weights make of the changed picture, brought back. Each is the median over the
    changes: that a network minds one kind of change does not speak against its maps.
    """
    changed = mild(subject.image, subject.seed)
    columns, maps = subject.looked_at(torch.stack([each.image for each in changed]))
    own = subject.weighted(subject.bank.activations.to(maps.device))
    moved = median(alike(own, each.back(map_)) for each, map_ in zip(changed, maps, strict=True))
    return {"steady": _survived(subject, columns, median), "moves": moved}


def elsewhere(subject: Subject) -> Mapping[str, Found]:
    """How alike the answer to the least important part alone is: the columns' correlation."""
    if not subject.comparable:
        return {"elsewhere": FEW.format(len(subject.answer))}
    heatmap = subject.explanation.heatmap.to(subject.image.device)
    columns = subject.columns(least(subject.image, heatmap)[None])
    return {"elsewhere": _survived(subject, columns, fmean)}


def blindness(subject: Subject) -> Mapping[str, Found]:
    """How alike the answers are without the object: the columns' correlation, in [−1, 1]."""
    if not subject.comparable:
        return {"blind": FEW.format(len(subject.answer))}
    columns = subject.columns(torch.stack(without_object(subject.image, subject.seed)))
    return {"blind": _survived(subject, columns, fmean)}


def _survived(
    subject: Subject, columns: BatchedScores, average: Callable[[list[float]], float]
) -> Found:
    """How alike these answers and the image's own are, on average."""
    if not subject.comparable:
        return FEW.format(len(subject.answer))
    if not columns.isfinite().all():
        return "The model's answers to changed pictures are not finite."
    return average([alike(subject.answer, each) for each in columns])


def faithfulness(subject: Subject) -> Mapping[str, Found]:
    """By how much the map's most important pixels carry the answer more than those of controls.

    F = how far the target leads the other columns with only a quarter and half of the pixels
    shown, less the same with them taken away. random: F less its mean over four maps of random
    cells, in units of the lead of the whole image over the empty one; centre: F less that of a
    Gaussian at the centre, in the same units. rest: the columns' correlation with what they were
    when the most important half is taken away.
    """
    own, *controls = _controlled(subject)
    images = torch.cat([_parted(subject, heatmap) for heatmap in (own, *controls)])
    columns = subject.columns(images).reshape(1 + len(controls), 2, len(SHARES), -1)
    found = {"rest": _survived(subject, columns[:1, 1, -1], fmean)}
    led = subject.lead(columns)
    ends = subject.lead(subject.columns(torch.stack([subject.image, subject.empty])))
    whole = abs(float(ends[0] - ends[1]))
    if not (led.isfinite().all() and 0 < whole < math.inf):
        why = "The model says the same of the image and of the empty one, or nothing finite."
        return {"random": why, "centre": why} | found
    carried = ((led[:, 0] - led[:, 1]).mean(dim=1) / whole).tolist()
    return {
        "random": carried[0] - fmean(carried[1:-1]),
        "centre": carried[0] - carried[-1],
    } | found


def _controlled(subject: Subject) -> list[Heatmap]:
    """The map, the random ones, and the centre."""
    bank, image = subject.bank, subject.image
    drawn = torch.Generator("cpu").manual_seed(subject.seed % 2**63)
    cells = torch.rand(
        CONTROLS, *bank.activations.shape[1:], generator=drawn, device="cpu", dtype=torch.float32
    )
    random = upsample(cells, bank.size).to(image.device)
    case = Case(
        subject.model, image, subject.target, bank.layer, lambda: bank, lambda: subject.scorer
    )
    return [subject.explanation.heatmap.to(image.device), *random, Centre().heatmap(case)]


def _parted(subject: Subject, heatmap: Heatmap) -> torch.Tensor:
    """The image with the most important pixels alone, and without them: `2 · shares c *i`."""
    kept = torch.stack([shown(heatmap, 1 - share, soft=False) for share in SHARES])
    return blend(subject.image, torch.cat([kept, 1 - kept]), subject.empty)


def survival(subject: Subject) -> Mapping[str, Found]:
    """How alike the map is to that of a copy whose last stage was drawn anew, in [−1, 1]."""
    model, bank, how = subject.model, subject.bank, subject.explanation.variant
    if not isinstance(model, WhiteBox):
        return {"head": f"{model.spec} has no weights that could be drawn anew."}
    image = subject.image[None]
    try:
        stages = model.stages(image)
        if not stages:
            return {"head": f"{model.spec} has no weights that could be drawn anew."}
        drawn = model.randomised(stages[:1], image, subject.seed)
        settings = Settings(
            variant=how,
            budget=HEAD_MASKS,
            runtime="eager",
            masking=bank.masking,
            seed=subject.seed,
        )
        other = make_bank(drawn, subject.image, subject.target, layer=bank.layer, settings=settings)
    except (ModelError, SettingError) as error:  # no copy, or its answers are of another kind
        return {"head": str(error)}
    subject.count(2 + other.provenance.forward_passes)  # two to find the stages
    own = subject.explanation.heatmap.to(image.device)
    return {"head": alike(own, other.heatmap(subject.target, how))}


MEASURES: dict[tuple[str, ...], Callable[[Subject], Mapping[str, Found]]] = {
    ("contrast",): contrast,
    ("agreement",): agreement,
    ("standing",): outstanding,
    ("random", "centre", "rest"): faithfulness,
    ("elsewhere",): elsewhere,
    ("steady", "moves"): steadiness,
    ("blind",): blindness,
    ("head",): survival,
}
"""By the codes of what each measures."""

FREE = frozenset({"contrast", "agreement", "standing"})
"""Codes that are read from the bank."""

ASKING = frozenset(code for group in MEASURES for code in group) - FREE
"""Codes for which the model is asked."""


def price(subject: Subject, codes: frozenset[str]) -> int:
    """Images that measuring these will put to the model or to its copy, at most."""
    axes = len(subject.bank.size)
    answered = 2 + PROBED  # the image and the empty one, and what a faster runtime has to show
    images = {
        "random": (2 + CONTROLS) * 2 * len(SHARES) + 2,
        "steady": 3 + 2 * axes,
        "elsewhere": 1 if subject.comparable else 0,
        "blind": 4 if subject.comparable else 0,
        "head": HEAD_MASKS + HEAD_BESIDE,
    }
    asked = [images[group[0]] for group in MEASURES if codes & set(group) and group[0] in images]
    return sum(asked) + answered * bool(codes & ASKING)
