"""`check`: what one map is worth, by asking its model a little more."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from scorecam.backends import opening
from scorecam.base.wording import quoted
from scorecam.errors import SettingError, did_you_mean
from scorecam.explanation import Explanation
from scorecam.io.arguments import several
from scorecam.io.ranges import SEED
from scorecam.model.model import Model
from scorecam.trust.evidence import Found, measure, price
from scorecam.trust.subject import Subject
from scorecam.trust.verdict import NOTES, RULES, Trust, judged, verdict


@dataclass(frozen=True)
class Cost:
    """What a check will take.

    Args:
        passes: images that will be put to the model or to its copy, at most.
        seconds: about how long, at the speed of the explanation.
    """

    passes: int
    seconds: float

    @property
    def sentence(self) -> str:
        """The same in one line."""
        return f"up to {self.passes} more passes, about {self.seconds:.0f} s"


def check(
    model: Model | nn.Module,
    explanation: Explanation,
    *,
    seed: int = 0,
    without: Iterable[str] = (),
) -> Trust:
    """Whether a map may be believed: usable, weak, or not to be shown, and the evidence.

    Asks the model more (see `cost`): about pictures that still show the object and pictures that no
    longer do, about the map's most important pixels against those of random maps and of the centre,
    and a copy of it whose last stage was drawn anew. What cannot be told is evidence that says so.
    Where the map is constant, nothing more is asked.

    Args:
        model: that was explained, from `open_model`, or the `torch.nn.Module`; left as it was.
        explanation: from `explain`, of a photo or of a tensor.
        seed: of what is drawn.
        without: codes of evidence and of health notes to leave out, such as "improbable".

    Raises:
        SettingError: a code is unknown, or the explanation lacks the image, as one does that was
            read from a bank's file.
        ModelError: it is another model's explanation, or the model fails.
        MemoryShortage: not even one image fits.
    """
    began = time.perf_counter()
    subject = _subject(model, explanation, seed)
    left_out = known_codes(without)
    notes = [note for note in explanation.health if note.code not in left_out]
    found: dict[str, Found] = {}
    if _asks(explanation):
        found = measure(subject, frozenset(RULES) - left_out)
    evidence = judged(notes, found)
    doubt = sum(each.doubt for each in evidence)
    return Trust(verdict(doubt), doubt, evidence, subject.passes, time.perf_counter() - began)


def cost(
    model: Model | nn.Module, explanation: Explanation, *, without: Iterable[str] = ()
) -> Cost:
    """What `check` will take, without asking the model anything.

    Raises:
        SettingError: the explanation lacks the image, or a code is unknown.
    """
    subject = _subject(model, explanation, 0)
    codes = frozenset(RULES) - known_codes(without)
    passes = price(subject, codes) if _asks(explanation) else 0
    made = explanation.provenance
    return Cost(passes, passes * made.seconds / max(made.forward_passes, 1))


def _subject(model: Model | nn.Module, explanation: Explanation, seed: int) -> Subject:
    if not isinstance(explanation, Explanation):
        raise SettingError(
            f"An explanation is checked, not a {type(explanation).__name__}.",
            likely="It may be a heatmap alone.",
            do="scorecam.check(model, scorecam.explain(model, photo)).",
        )
    opened = opening.as_model(model)
    SEED.check("seed", seed)
    return Subject(opened, explanation, int(seed))


def _asks(explanation: Explanation) -> bool:
    """Whether there is anything to ask: a constant map shows nothing."""
    low, high = explanation.heatmap.aminmax()
    return bool(high > low)


def known_codes(codes: Iterable[str]) -> frozenset[str]:
    """The codes of evidence and of health notes, each of which there is.

    Raises:
        SettingError: there is none such.
    """
    do = "Give a list of codes, such as ['improbable']."
    asked = frozenset(
        [codes] if isinstance(codes, str) else several("without", codes, str | int, do)
    )
    known = [*NOTES, *RULES]
    for code in sorted(asked, key=str):
        if code not in known:
            raise SettingError(
                f"There is no evidence {quoted(code)}.",
                likely=did_you_mean(str(code), known),
                do=f"There are {', '.join(known)}.",
            )
    if asked >= set(RULES):
        raise SettingError(
            "Every evidence is left out: there would be nothing to judge by.",
            do="Leave out fewer.",
        )
    return asked
