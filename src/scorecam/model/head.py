"""The kind of a model's scores, detected from the scores where that is certain.

Scores are probabilities if none is negative or above 1, and one of these holds:

* there are several columns, and every row adds up to one, even for inputs that are strong enough
  for logits to leave the range;
* the last step of the network is a softmax over the columns, or a sigmoid;
* strong inputs drive the scores to both ends, 0 and 1, and never beyond, as a sigmoid does.

Anything else is logits. If the scores could be probabilities nevertheless, a remark says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from torch import Tensor

from scorecam.cam import Head
from scorecam.errors import SettingError
from scorecam.model.model import Model
from scorecam.shapes import BatchedScores, Image, Images

STRONGER = 1024.0
"""The factor that makes an input strong enough to drive small logits out of [0, 1]."""

END = 1e-3
"""A score this close to 0 or 1 is at the end of a sigmoid."""

LARGEST_SLACK = 0.05
"""The largest rounding error of a sum of probabilities in any precision."""

IMPOSSIBLE = 0.01
"""Rounding never brings a probability this far out of [0, 1]."""

PERCENT = 100.0

ScoreImages = Callable[[Images], BatchedScores]
"""Scores a few images with the model itself, in batches that fit into memory."""


@dataclass(frozen=True)
class DetectedHead:
    """The kind of the scores.

    Args:
        head: the kind.
        passes: the images scored to detect it.
        remark: for the user; often empty.
        bounded: whether all scores were in [0, 1], those of strong inputs too.
    """

    head: Head
    passes: int = 0
    remark: str = ""
    bounded: bool = False


def find_head(
    model: Model, image: Image, known: BatchedScores, score_images: ScoreImages
) -> DetectedHead:
    """The kind of the scores: as declared, if that is possible; detected, if it is not declared.

    Args:
        image: one input, from which stronger ones are made.
        known: all scores of this image and its masked copies, `b n`.
        score_images: scores further images.

    Raises:
        SettingError: the declared head is impossible.
    """
    known = known[known.isfinite().all(dim=1)]
    if model.head == "auto":
        return detected_head(model, image, known, score_images)
    head = _unbounded(known) if model.head == "logits" else model.head
    check_declared(model.head, known)
    if model.task_columns is not None:  # the task has stated how it found the kind
        return DetectedHead(head)
    return DetectedHead(head, 0, _declared_remark(model.head, known))


def detected_head(
    model: Model, image: Image, known: BatchedScores, score_images: ScoreImages
) -> DetectedHead:
    """The kind of the scores from the scores alone, whatever is declared; see `find_head`."""
    known = known[known.isfinite().all(dim=1)]
    unbounded = _unbounded(known)
    if not in_range(known):
        return DetectedHead(unbounded, 0, _percent_remark(known))
    strong, step, passes = _strong_scores(model, image, known, score_images)
    if not in_range(torch.cat([known, strong])):
        return DetectedHead(unbounded, passes)  # certainly: only logits leave the range
    if _certain(known, strong, step):
        return DetectedHead("probabilities", passes, bounded=True)
    return DetectedHead(unbounded, passes, _uncertain_remark(known), bounded=True)


def detected_alone(model: Model, images: Images) -> DetectedHead:
    """The kind of the scores before any image is masked, from an image and an empty one.

    Args:
        images: `1 c *i`.
    """
    known = model.scores(torch.cat([images, torch.zeros_like(images)]))
    found = detected_head(model, images[0], known, model.scores)
    return replace(found, passes=found.passes + len(known))


def _unbounded(known: BatchedScores) -> Head:
    """The kind of scores that are no probabilities."""
    return "sigmoid" if known.shape[1] == 1 else "logits"


# ── evidence ─────────────────────────────────────────────────────────────────────────────────


def in_range(scores: BatchedScores) -> bool:
    """Whether there are scores, and all are in [0, 1]; rounding may exceed 1."""
    if len(scores) == 0:
        return False
    above = scores.amax(dim=1) - 1 > slack(scores)
    return bool((scores >= 0).all()) and not bool(above.any())


def adds_up(scores: BatchedScores) -> bool:
    """Whether there are several columns, and every row adds up to one, except for rounding."""
    if scores.shape[1] < 2 or len(scores) == 0:
        return False
    return bool(((scores.double().sum(dim=1) - 1).abs() <= slack(scores)).all())


def slack(scores: BatchedScores) -> Annotated[Tensor, "b"]:
    """How far rounding can move the sum of each row's probabilities from one.

    Each number has a relative rounding error, so that the sum is off by a few times the resolution.
    A sum that was computed in the same precision adds an error that grows with the root of the
    number of columns. The resolution is that of the coarsest type which holds all numbers of the
    row exactly.
    """
    exact = torch.finfo(torch.float32).eps
    resolution = torch.full_like(scores[:, 0], exact, dtype=torch.float64)
    for dtype in (torch.float16, torch.bfloat16):
        coarse = (scores.to(dtype).to(scores) == scores).all(dim=1)
        resolution[coarse] = torch.finfo(dtype).eps
    return (resolution * (4 + scores.shape[1] ** 0.5 / 2)).clamp(1e-5, LARGEST_SLACK)


def saturates(known: BatchedScores, strong: BatchedScores) -> bool:
    """Whether strong inputs drive most scores to the ends of [0, 1], and to both of them.

    Some scores of ordinary inputs must be between the ends: numbers that are always 0 or 1 may be
    indices or votes.
    """
    low, high = strong <= END, strong >= 1 - END
    mostly = (low | high).float().mean() >= 0.5 if strong.numel() else torch.tensor(data=False)
    return _between(known) and bool(low.any() & high.any() & mostly)


def _between(scores: BatchedScores) -> bool:
    """Whether any score is between the ends."""
    return bool(((scores > END) & (scores < 1 - END)).any())


def _certain(known: BatchedScores, strong: BatchedScores, step: str) -> bool:
    """Whether scores that are all in [0, 1] are certainly probabilities."""
    everything = torch.cat([known, strong])
    if step == "sigmoid" or (step == "softmax" and known.shape[1] > 1):
        return True
    return (len(strong) > 0 and adds_up(everything)) or saturates(known, strong)


def _strong_scores(
    model: Model, image: Image, known: BatchedScores, score_images: ScoreImages
) -> tuple[BatchedScores, str, int]:
    """The scores of very strong inputs, the network's last step, and the number of passes.

    One pass is enough if the last step can be seen. Otherwise the image's negative is scored too,
    and six more inputs if the scores stay in range, do not add up to one, and reach only one end,
    as those of a single sigmoid often do.
    """
    first, step = model.last_step(image[None] * STRONGER)
    scores = _without_nan(first)
    if step:
        return scores, step, 1
    scores = torch.cat([scores, _without_nan(score_images(image[None] * -STRONGER))])
    everything = torch.cat([known, scores])
    if not in_range(everything) or adds_up(everything) or saturates(known, scores):
        return scores, "", 2
    if not _between(known) or not bool(((scores <= END) | (scores >= 1 - END)).any()):
        return scores, "", 2  # strong inputs drive nothing to an end
    more = _more_inputs(image) * STRONGER
    return torch.cat([scores, _without_nan(score_images(more))]), "", 2 + len(more)


def _without_nan(scores: BatchedScores) -> BatchedScores:
    """The scores without NaN, to which half precision overflows."""
    return scores[~scores.isnan().any(dim=1)]


def _more_inputs(image: Image) -> Images:
    """Three more inputs and their negatives: a constant, a ramp, and noise."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(image.shape, generator=generator, device="cpu").to(image)
    ramp = torch.linspace(-1, 1, image.shape[-1], device=image.device).expand_as(image)
    inputs = torch.stack([torch.ones_like(image), ramp, noise])
    return torch.cat([inputs, -inputs])


# ── errors and remarks ───────────────────────────────────────────────────────────────────────


def check_declared(declared: Head | Literal["auto"], known: BatchedScores) -> None:
    """Refuse `head="probabilities"` if the scores cannot be probabilities.

    Raises:
        SettingError: a number is below 0 or above 1 by more than rounding explains.
    """
    known = known[known.isfinite().all(dim=1)]
    if declared != "probabilities" or len(known) == 0:
        return
    low, high = map(float, known.aminmax())
    if low >= -IMPOSSIBLE and high <= 1 + IMPOSSIBLE:
        return
    worst = low if low < -IMPOSSIBLE else high
    raise SettingError(
        f'head="probabilities" was given, but the model has a score of {worst:.3g}.',
        likely="They are percentages."
        if _percent_remark(known)
        else "They may be logits, or values.",
        do="In Python, give output=lambda y: y / 100."
        if _percent_remark(known)
        else 'Leave head out, or use head="logits" (--head logits), or "value" for a regression.',
    )


def _percent_remark(known: BatchedScores) -> str:
    """A remark if every row adds up to 100."""
    if len(known) == 0 or not bool((known >= 0).all()) or not adds_up(known / PERCENT):
        return ""
    return (
        "The model's scores add up to 100 in every row, as percentages do. They were treated as "
        "logits; if they are percentages, give output=lambda y: y / 100."
    )


def _uncertain_remark(known: BatchedScores) -> str:
    """A remark if scores in [0, 1] were treated as logits."""
    rows = "" if known.shape[1] == 1 else "they do not add up to one in every row, and "
    if adds_up(known):
        rows = ""
    return (
        "All of the model's scores are between 0 and 1, but they were treated as logits: "
        f"{rows}strong inputs do not drive them to 0 and to 1. If they are probabilities, say so "
        'with head="probabilities" (--head probabilities).'
    )


def _declared_remark(declared: Head | Literal["auto"], known: BatchedScores) -> str:
    """A remark if the declared head is possible, but the scores look like those of another head."""
    if len(known) < 2:
        return ""
    if declared == "probabilities":
        return _independent_remark(known)
    if declared not in ("logits", "sigmoid") or not in_range(known):
        return ""
    if declared == "logits" and adds_up(known):
        return (
            'head="logits" was given, but all scores are between 0 and 1 and add up to one in '
            'every row: they look like probabilities. If they are, use head="probabilities".'
        )
    if (declared == "sigmoid" or known.shape[1] == 1) and float(known.max()) >= 0.1:
        return (
            f'head="{declared}" was given, and all scores are between 0 and 1: as logits they '
            "mean probabilities from 50 % to 73 %. If the network itself ends in a sigmoid, use "
            'head="probabilities".'
        )
    return ""


def _independent_remark(known: BatchedScores) -> str:
    sums = known.double().sum(dim=1)
    if known.shape[1] < 2 or bool(((sums - 1).abs() <= LARGEST_SLACK).all()):
        return ""
    return (
        'head="probabilities" was given, and the rows of the scores add up to between '
        f"{float(sums.min()):.3g} and {float(sums.max()):.3g}, not to one: each column is treated "
        "as a separate yes-or-no probability."
    )
