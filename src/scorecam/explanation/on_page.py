"""The page of one explanation: what `Explanation.to_html` writes."""

from __future__ import annotations

import io

from torch import Tensor

from scorecam import cam
from scorecam.cam import VARIANTS, Masking
from scorecam.explanation.choice import ordered
from scorecam.explanation.explained import Explained
from scorecam.explanation.words import words_for
from scorecam.model.target import Target
from scorecam.page import (
    Channel,
    Drawing,
    Outline,
    Page,
    Picture,
    Shown,
    box_outline,
    grid8,
    mask_outline,
)

PAGE_CLASSES, PAGE_CHANNELS = 5, 8
"""The number of columns and channels on a page: the largest scores and weights."""


def page_of(explanation: Explained) -> Page:
    """The page of one explanation."""
    bank, target = explanation.bank, explanation.target
    words = words_for(bank.provenance.task)
    flat = len(bank.size) == 2
    found = words.sentence(bank.provenance.model, target)
    compare = _RECOMMENDATION.format(one=words.one)
    return Page(
        title=words.question(target),
        lead=f"{found} The map shows which parts of the {'picture' if flat else 'input'} support "
        f"that {words.score}, by Score-CAM in the variant {explanation.variant.name}."
        f"{compare if flat and explanation.variant.name != 'centred' else ''}",
        about=_about(explanation),
        pictures=(_on_page(explanation),) if flat else (),
        remarks=bank.provenance.remarks,
        drawings=()
        if flat
        else tuple(_drawing(explanation.of(one)) for one in _shown(explanation)),
        columns=(words.one, words.many),
    )


_RECOMMENDATION = (
    " Compare it with the view centred, which leaves out what is the same for every {one}."
)


def _about(explanation: Explained) -> tuple[tuple[str, str], ...]:
    """What was computed, as names and values."""
    bank, made = explanation.bank, explanation.provenance
    grid = " × ".join(map(str, bank.activations.shape[1:]))
    masks = f"{len(bank.asked):,} of {len(bank.live):,} masks"
    return (
        ("Model", made.model),
        ("Layer", f"{bank.layer} ({len(bank.activations):,} channels of {grid})"),
        ("Formula", explanation.formula),
        ("Scores", bank.head),
        ("Masking", _in_words(bank.masking)),
        ("Budget", f"{made.budget}: {masks}"),
        ("Runtime", f"{made.runtime}, {made.precision}, {made.device}"),
        ("Time", f"{made.seconds:.1f} s for {made.forward_passes:,} passes"),
        ("Versions", f"scorecam {made.scorecam}, {made.libraries}, Python {made.python}"),
    )


def _in_words(masking: Masking) -> str:
    """The masking, as a phrase."""
    corners = ", corners aligned" if masking.align_corners else ""
    epsilon = f", epsilon {masking.epsilon:g}" if masking.epsilon else ""
    return f"fill {masking.fill}, scaled {masking.scale} upsampling{corners}{epsilon}"


def _drawing(explanation: Explained) -> Drawing:
    """The overlay of an input that is not a photo, as a file."""
    file = io.BytesIO()
    explanation.overlay().save(file, "PNG")
    words = tuple(note.sentence for note in explanation.health)
    return Drawing(explanation.target.title, file.getvalue(), words)


def _on_page(explanation: Explained) -> Picture:
    bank, target = explanation.bank, explanation.target
    shown = _shown(explanation)
    contrast = None
    if len(shown) > 1 and words_for(bank.provenance.task).comparable:
        other = bank.target(shown[1])
        size = bank.activations.shape[1:]
        grid = bank.contrast(target.index, other.index, explanation.variant, size=size)
        contrast = f"{target.label} rather than {other.label}", grid8(grid.cpu())
    made = bank.provenance
    return Picture(
        id="0",
        name=target.label,
        jpeg=bank.view,
        classes=tuple(_class(explanation, index) for index in shown),
        contrast=contrast,
        facts={
            **_score(target),
            "largest value of the map": float(explanation.heatmap.max()),
            "error of the map, estimated": explanation.error,
            "masks asked": float(len(bank.asked)),
            "forward passes": float(made.forward_passes),
            "seconds": made.seconds,
        },
        tags=tuple(note.code for note in explanation.health),
        words=tuple(note.sentence for note in explanation.health),
        channels=_channels(explanation),
    )


def _score(target: Target) -> dict[str, float | None]:
    """The numbers of a target; a score that is a value has no probability."""
    if target.probability is None:
        return {f"score, {target.unit}" if target.unit else "score": target.score}
    return {"probability": target.probability, "score": target.score}


def _shown(explanation: Explained) -> list[int]:
    """The columns on a page: the target, then the first others that the bank can explain."""
    own = explanation.target.index
    others = (index for index in ordered(explanation.bank) if index != own)
    return [own, *others][:PAGE_CLASSES]


def _class(explanation: Explained, index: int) -> Shown:
    """One class in every variant; the explanation's own comes first."""
    bank, own = explanation.bank, explanation.variant
    column = bank.target(index)
    others = [other for other in VARIANTS.values() if other.on_pages and other.name != own.name]
    variants = [own, *others]
    task = bank.provenance.task
    predicted = bank.target().index == index and not task
    roles = {"predicted": predicted, "target": explanation.target.index == index}
    size = bank.activations.shape[1:]
    return Shown(
        name=column.label,
        probability=column.probability,
        value="" if column.probability is not None and not task else column.value,
        role=", ".join(role for role, applies in roles.items() if applies),
        outline=_outline(explanation.of(index)),
        maps={shown.name: grid8(bank.heatmap(index, shown, size=size).cpu()) for shown in variants},
    )


def _outline(explanation: Explained) -> Outline | None:
    """The outline of a column's box or region in the picture."""
    region, size = explanation.region, explanation.bank.size
    if region is None:
        return None
    if isinstance(region, Tensor):
        return mask_outline(region.cpu().numpy())
    x1, y1, x2, y2 = region
    return box_outline((x1, y1, x2, y2), (size[1], size[0]))


def _channels(explanation: Explained) -> tuple[Channel, ...]:
    """The channels with the largest weights for the target, with their maps."""
    bank = explanation.bank
    weights = bank.weights(explanation.target.index, explanation.variant)
    total = float(weights.abs().sum())
    order = weights.abs().argsort(descending=True, stable=True)[:PAGE_CHANNELS].tolist()
    return tuple(
        Channel(
            name=f"channel {channel}",
            share=float(weights[channel]) / total,
            grid=grid8(cam.scaled(bank.activations[channel]).cpu()),
        )
        for channel in order
        if weights[channel] != 0
    )
