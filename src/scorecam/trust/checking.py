"""`check`: whether one map can be trusted, with a few more passes through its model."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from scorecam.backends import opening
from scorecam.base.wording import quoted
from scorecam.errors import SettingError, did_you_mean
from scorecam.explanation.explained_model import explained_model
from scorecam.explanation.explanation import Explanation
from scorecam.io.arguments import several
from scorecam.io.ranges import SEED
from scorecam.model.model import Model
from scorecam.trust.checked_map import CheckedMap
from scorecam.trust.criteria import CRITERIA, NOTE_DOUBTS, PLACE_CRITERIA, measure, passes
from scorecam.trust.evidence import Measured
from scorecam.trust.verdict import Trust, judged, verdict


@dataclass(frozen=True)
class Cost:
    """The cost of a check.

    Args:
        passes: images passed through the model or its copy, at most.
        seconds: the estimated time, at the explanation's speed.
    """

    passes: int
    seconds: float

    @property
    def sentence(self) -> str:
        """The cost in one line."""
        return f"up to {self.passes} more passes, about {self.seconds:.0f} s"


def check(
    model: Model | nn.Module,
    explanation: Explanation,
    *,
    seed: int = 0,
    without: Iterable[str] = (),
) -> Trust:
    """Whether a map can be trusted: usable, weak or "don't show", with the evidence.

    Runs the model on changed images that still show the object and on images that no longer show
    it, compares the map's most important pixels with those of random maps and of the centre, and
    compares the map with that of a copy with a re-initialised last stage. See `cost` for the number
    of passes. Evidence that cannot be measured says why. A constant map needs no passes.

    Args:
        model: the explained model, from `open_model`, or the `torch.nn.Module`; it is not changed.
        explanation: from `explain`, of a photo or a tensor.
        seed: random seed.
        without: codes of evidence and health notes to leave out, such as "improbable".

    Raises:
        SettingError: a code is unknown, or the explanation has no image, for instance because it
            was read from a bank's file.
        ModelError: the explanation is of another model, or the model fails.
        MemoryShortage: not even one image fits.
    """
    began = time.perf_counter()
    checked = _checked_map(model, explanation, seed)
    left_out = known_codes(without)
    notes = [note for note in explanation.health if note.code not in left_out]
    measured: dict[str, Measured] = {}
    if not _constant(explanation):
        measured = measure(checked, frozenset([*CRITERIA, *PLACE_CRITERIA]) - left_out)
    evidence = judged(notes, measured)
    doubt = sum(piece.doubt for piece in evidence)
    return Trust(
        verdict(doubt), doubt, evidence, checked.passes, seconds=time.perf_counter() - began
    )


def cost(
    model: Model | nn.Module, explanation: Explanation, *, without: Iterable[str] = ()
) -> Cost:
    """The cost of `check`, without any pass.

    Raises:
        SettingError: the explanation has no image, or a code is unknown.
    """
    checked = _checked_map(model, explanation, 0)
    codes = frozenset(CRITERIA) - known_codes(without)
    count = 0 if _constant(explanation) else passes(checked, codes)
    made = explanation.provenance
    return Cost(count, count * made.seconds / max(made.forward_passes, 1))


def _checked_map(model: Model | nn.Module, explanation: Explanation, seed: int) -> CheckedMap:
    if not isinstance(explanation, Explanation):
        raise SettingError(
            f"check needs an explanation, not a {type(explanation).__name__}.",
            likely="It may be only a heatmap.",
            do="Use scorecam.check(model, scorecam.explain(model, photo)).",
        )
    opened = explained_model(opening.as_model(model), explanation)
    SEED.check("seed", seed)
    return CheckedMap(opened, explanation, int(seed))


def _constant(explanation: Explanation) -> bool:
    low, high = explanation.heatmap.aminmax()
    return not bool(high > low)


def known_codes(codes: Iterable[str]) -> frozenset[str]:
    """The given codes of evidence and health notes.

    Raises:
        SettingError: a code is unknown, or all evidence is left out.
    """
    do = "Give a list of codes, such as ['improbable']."
    given = frozenset(
        [codes] if isinstance(codes, str) else several("without", codes, str | int, do)
    )
    known = [*NOTE_DOUBTS, *CRITERIA, *PLACE_CRITERIA]
    for code in sorted(given, key=str):
        if code not in known:
            raise SettingError(
                f"Unknown evidence code {quoted(code)}.",
                likely=did_you_mean(str(code), known),
                do=f"The codes are {', '.join(known)}.",
            )
    if given >= set(CRITERIA):
        raise SettingError(
            "All evidence is left out, so there is nothing to base a verdict on.",
            do="Leave out fewer codes.",
        )
    return given
