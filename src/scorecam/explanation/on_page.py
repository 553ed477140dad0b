"""The page of one explanation: what `Explanation.to_html` writes."""

from __future__ import annotations

import io
from typing import Protocol, Self

from PIL import Image

from scorecam import cam
from scorecam.bank.bank import Provenance, ScoreBank
from scorecam.bank.health import Note
from scorecam.cam import VARIANTS, Masking, Variant
from scorecam.model.target import Target
from scorecam.page import Channel, Drawing, Page, Picture, Shown, grid8
from scorecam.shapes import Heatmap


class Explained(Protocol):
    """What a page shows of an `Explanation`."""

    @property
    def bank(self) -> ScoreBank: ...
    @property
    def target(self) -> Target: ...
    @property
    def variant(self) -> Variant: ...
    @property
    def heatmap(self) -> Heatmap: ...
    @property
    def formula(self) -> str: ...
    @property
    def error(self) -> float: ...
    @property
    def health(self) -> tuple[Note, ...]: ...
    @property
    def provenance(self) -> Provenance: ...
    def of(self, target: int | str | None = None) -> Self: ...
    def overlay(self) -> Image.Image: ...


PAGE_CLASSES, PAGE_CHANNELS = 5, 8
"""The number of classes and channels on a page: the largest scores and weights."""


def page_of(explanation: Explained) -> Page:
    """The page of one explanation."""
    bank, target = explanation.bank, explanation.target
    flat = len(bank.size) == 2
    share = "" if target.probability is None else f" with {target.probability:.1%}"
    return Page(
        title=f"Why {target.label}?",
        lead=f"{bank.provenance.model} sees {target.label}{share}. The map shows which parts of "
        f"the {'picture' if flat else 'input'} support that score, by Score-CAM in the variant "
        f"{explanation.variant.name}."
        f"{_RECOMMENDATION if flat and explanation.variant.name != 'centred' else ''}",
        about=_about(explanation),
        pictures=(_on_page(explanation),) if flat else (),
        remarks=bank.provenance.remarks,
        drawings=()
        if flat
        else tuple(_drawing(explanation.of(one)) for one in _shown(explanation)),
    )


_RECOMMENDATION = (
    " Compare it with the view centred, which leaves out what is the same for every class."
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
    return Drawing(explanation.target.label, file.getvalue(), words)


def _on_page(explanation: Explained) -> Picture:
    bank, target = explanation.bank, explanation.target
    shown = _shown(explanation)
    contrast = None
    if len(shown) > 1:
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
            "probability": target.probability,
            "score": target.score,
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


def _shown(explanation: Explained) -> list[int]:
    """The columns on a page: the target, then the largest others that the bank can explain."""
    bank, own = explanation.bank, explanation.target.index
    kept = range(len(bank.image_scores)) if bank.columns is None else bank.columns.tolist()
    largest = sorted(kept, key=bank.image_scores.tolist().__getitem__, reverse=True)
    return [own, *(index for index in largest if index != own)][:PAGE_CLASSES]


def _class(explanation: Explained, index: int) -> Shown:
    """One class in every variant; the explanation's own comes first."""
    bank, own = explanation.bank, explanation.variant
    column = bank.target(index)
    others = [other for other in VARIANTS.values() if other.on_pages and other.name != own.name]
    variants = [own, *others]
    predicted = bank.target().index == index
    roles = {"predicted": predicted, "target": explanation.target.index == index}
    size = bank.activations.shape[1:]
    return Shown(
        name=column.label,
        probability=column.probability,
        role=", ".join(role for role, applies in roles.items() if applies),
        maps={shown.name: grid8(bank.heatmap(index, shown, size=size).cpu()) for shown in variants},
    )


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
