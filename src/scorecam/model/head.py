"""What a model's numbers are: found out from the answers, and only where that is certain.

Numbers are probabilities where no answer is negative or above 1, and one of these holds:

* there are several columns, and every row adds up to one, also for inputs so strong that logits
  would leave the range;
* the last step of the network is a softmax over the columns, or a sigmoid;
* such strong inputs drive the numbers to both ends, 0 and 1, and never beyond, as a sigmoid does.

Anything else is logits. Where the numbers could have been probabilities, a remark says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from scorecam.cam import Head
from scorecam.errors import SettingError
from scorecam.model.model import Model
from scorecam.shapes import BatchedScores, Image, Images

STRONGER = 1024.0
"""How many times as strong an input must be to drive small logits out of [0, 1]."""

END = 1e-3
"""What lies this close to 0 or 1 is at the end of a sigmoid."""

LARGEST_SLACK = 0.05
"""Rows that are further from one than this do not add up to one in any precision."""

IMPOSSIBLE = 0.01
"""No rounding brings a probability this far out of [0, 1]."""

PERCENT = 100.0

Ask = Callable[[Images], BatchedScores]
"""Puts a few images to the model itself, in batches that fit."""


@dataclass(frozen=True)
class Found:
    """What the scores are.

    Args:
        head: what they are.
        passes: images put to the model to find out.
        remark: what the user should hear of it; empty where there is nothing to say.
    """

    head: Head
    passes: int = 0
    remark: str = ""


def find_head(model: Model, image: Image, said: BatchedScores, ask: Ask) -> Found:
    """What the scores are: as declared, if the answers allow it, or as the answers show.

    Args:
        image: one input, for stronger ones to be made of.
        said: everything the model has answered about it, `b n`.
        ask: puts further images to the model.

    Raises:
        SettingError: the declared head is impossible.
    """
    said = said[said.isfinite().all(dim=1)]
    single = said.shape[1] == 1
    unbounded: Head = "sigmoid" if single else "logits"
    if model.head != "auto":
        head = unbounded if model.head == "logits" else model.head
        check_declared(model.head, said)
        return Found(head, 0, _doubt(model.head, said))
    if not in_range(said):
        return Found(unbounded, 0, _percent(said))
    strong, step, passes = _strong_answers(model, image, said, ask)
    if not in_range(torch.cat([said, strong])):
        return Found(unbounded, passes)  # certainly: only logits leave the range
    if _certain(said, strong, step):
        return Found("probabilities", passes)
    return Found(unbounded, passes, _uncertain(said))


# ── evidence ─────────────────────────────────────────────────────────────────────────────────


def in_range(scores: BatchedScores) -> bool:
    """Whether there are answers, none of them negative or, but for rounding, above 1."""
    if len(scores) == 0:
        return False
    above = scores.amax(dim=1) - 1 > slack(scores)
    return bool((scores >= 0).all()) and not bool(above.any())


def adds_up(scores: BatchedScores) -> bool:
    """Whether there are several columns, and every row adds up to one, but for rounding."""
    if scores.shape[1] < 2 or len(scores) == 0:
        return False
    return bool(((scores.double().sum(dim=1) - 1).abs() <= slack(scores)).all())


def slack(scores: BatchedScores) -> Annotated[Tensor, "b"]:
    """How far the sum of each row's probabilities may be from one by rounding.

    Each number is off by a share of itself, so that the sum is off by a few times the resolution
    of the numbers. A sum that was made in that same precision adds an error that grows with the
    root of the number of columns. The resolution is the coarsest that has all numbers of the row.
    """
    exact = torch.finfo(torch.float32).eps
    resolution = torch.full_like(scores[:, 0], exact, dtype=torch.float64)
    for dtype in (torch.float16, torch.bfloat16):
        coarse = (scores.to(dtype).to(scores) == scores).all(dim=1)
        resolution[coarse] = torch.finfo(dtype).eps
    return (resolution * (4 + scores.shape[1] ** 0.5 / 2)).clamp(1e-5, LARGEST_SLACK)


def saturates(said: BatchedScores, strong: BatchedScores) -> bool:
    """Whether strong inputs drive most numbers to the ends of [0, 1], and to both of them.

    Some answers to ordinary inputs must lie between the ends: numbers that are always 0 or 1 may be
    indices or votes.
    """
    low, high = strong <= END, strong >= 1 - END
    mostly = (low | high).float().mean() >= 0.5 if strong.numel() else torch.tensor(data=False)
    return _between(said) and bool(low.any() & high.any() & mostly)


def _between(scores: BatchedScores) -> bool:
    """Whether any of these lies between the ends."""
    return bool(((scores > END) & (scores < 1 - END)).any())


def _certain(said: BatchedScores, strong: BatchedScores, step: str) -> bool:
    """Whether numbers that all lie in [0, 1] are probabilities."""
    everything = torch.cat([said, strong])
    if step == "sigmoid" or (step == "softmax" and said.shape[1] > 1):
        return True
    return (len(strong) > 0 and adds_up(everything)) or saturates(said, strong)


def _strong_answers(
    model: Model, image: Image, said: BatchedScores, ask: Ask
) -> tuple[BatchedScores, str, int]:
    """What the model answers to very strong inputs, its last step, and the passes that took.

    One pass is enough where the network's last step is seen. Otherwise the image's negative is
    asked too; and six more inputs where the numbers stay in range, do not add up to one, and
    reach one end alone, as those of a single sigmoid often do.
    """
    first, step = model.last_step(image[None] * STRONGER)
    answers = _numbers(first)
    if step:
        return answers, step, 1
    answers = torch.cat([answers, _numbers(ask(image[None] * -STRONGER))])
    everything = torch.cat([said, answers])
    if not in_range(everything) or adds_up(everything) or saturates(said, answers):
        return answers, "", 2
    if not _between(said) or not bool(((answers <= END) | (answers >= 1 - END)).any()):
        return answers, "", 2  # strong inputs drive nothing to an end
    more = _directions(image) * STRONGER
    return torch.cat([answers, _numbers(ask(more))]), "", 2 + len(more)


def _numbers(answers: BatchedScores) -> BatchedScores:
    """The answers without those that are lost: half precision overflows."""
    return answers[~answers.isnan().any(dim=1)]


def _directions(image: Image) -> Images:
    """Three further inputs and their negatives: the same everywhere, a ramp, and noise."""
    drawn = torch.Generator().manual_seed(0)
    noise = torch.randn(image.shape, generator=drawn, device="cpu").to(image)
    ramp = torch.linspace(-1, 1, image.shape[-1], device=image.device).expand_as(image)
    inputs = torch.stack([torch.ones_like(image), ramp, noise])
    return torch.cat([inputs, -inputs])


# ── errors and remarks ───────────────────────────────────────────────────────────────────────


def check_declared(declared: Head | Literal["auto"], said: BatchedScores) -> None:
    """Refuse `head="probabilities"` where the answers cannot be.

    Raises:
        SettingError: a number is below 0 or above 1 by more than rounding explains.
    """
    said = said[said.isfinite().all(dim=1)]
    if declared != "probabilities" or len(said) == 0:
        return
    low, high = map(float, said.aminmax())
    if low >= -IMPOSSIBLE and high <= 1 + IMPOSSIBLE:
        return
    worst = low if low < -IMPOSSIBLE else high
    raise SettingError(
        f'head="probabilities" was given, but the model answers with {worst:.3g}.',
        likely="They are percentages." if _percent(said) else "They may be logits, or values.",
        do="In Python, give output=lambda y: y / 100."
        if _percent(said)
        else 'Leave head out, or use head="logits" (--head logits), or "value" for a regression.',
    )


def _percent(said: BatchedScores) -> str:
    """A remark where every row adds up to 100."""
    if len(said) == 0 or not bool((said >= 0).all()) or not adds_up(said / PERCENT):
        return ""
    return (
        "The model's answers add up to 100 in every row, as percentages do. They were taken for "
        "logits; if they are percentages, give output=lambda y: y / 100."
    )


def _uncertain(said: BatchedScores) -> str:
    """A remark where numbers in [0, 1] were taken for logits."""
    rows = "" if said.shape[1] == 1 else "they do not add up to one in every row, and "
    if adds_up(said):
        rows = ""
    return (
        "All of the model's answers lie between 0 and 1, but they were taken for logits: "
        f"{rows}strong inputs do not drive them to 0 and to 1. If they are probabilities, say so "
        'with head="probabilities" (--head probabilities).'
    )


def _doubt(declared: Head | Literal["auto"], said: BatchedScores) -> str:
    """A remark where the declared head is possible, but the answers look like another."""
    if len(said) < 2:
        return ""
    if declared == "probabilities":
        return _independent(said)
    if declared not in ("logits", "sigmoid") or not in_range(said):
        return ""
    if declared == "logits" and adds_up(said):
        return (
            'head="logits" was given, but all answers lie between 0 and 1 and add up to one in '
            'every row: they look like probabilities. If they are, use head="probabilities".'
        )
    if (declared == "sigmoid" or said.shape[1] == 1) and float(said.max()) >= 0.1:
        return (
            f'head="{declared}" was given, and all answers lie between 0 and 1: as logits they '
            "mean probabilities from 50 % to 73 %. If the network itself ends in a sigmoid, use "
            'head="probabilities".'
        )
    return ""


def _independent(said: BatchedScores) -> str:
    sums = said.double().sum(dim=1)
    if said.shape[1] < 2 or bool(((sums - 1).abs() <= LARGEST_SLACK).all()):
        return ""
    return (
        'head="probabilities" was given, and the rows of the answers add up to between '
        f"{float(sums.min()):.3g} and {float(sums.max()):.3g}, not to one: each column is taken as "
        "a yes-or-no probability of its own."
    )
