"""The task multilabel: labels that do not exclude each other, and several heads of one network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from scorecam.base.wording import quoted
from scorecam.cam import Head, probabilities
from scorecam.errors import SettingError
from scorecam.io.ranges import parse_real
from scorecam.model.columns import POSITIVE, two_names, two_sided
from scorecam.model.head import adds_up
from scorecam.model.model import Model, TargetSpec, Task
from scorecam.model.readout import Readout, readout_for
from scorecam.model.task_columns import TaskColumns
from scorecam.shapes import Columns, Images
from scorecam.tasks.column_names import column_index
from scorecam.tasks.multilabel.heads import (
    Evidence,
    HeadReadout,
    Kind,
    LabelHead,
    Probabilities,
    find_heads,
    parse_heads,
)
from scorecam.tasks.multilabel.label_names import column_names, parse_label_names

MOST_LISTED = 20
"""The most labels that a sentence lists."""


@dataclass(frozen=True)
class MultiLabel(Task):
    """Why the model gives a picture these labels.

    Args:
        names: one per label, in a list or a text with commas; or a dict with the names of each
            head, as a text "colour: red, green; shape: round, square".
        threshold: labels with at least this probability are listed; None for no list.
        heads: the kind of all heads; or the heads to use, each with its kind: a dict, or a text
            such as "colour=logits, shape=sigmoid". "logits" are of one label among several,
            "sigmoid" are logits of labels that do not exclude each other, "probabilities" are
            between 0 and 1, and "auto" finds the kind. None for all heads in the output.
        output: which part of the model's output holds the heads, as for `open_model`; None for that
            of `open_model`, or all of it.
    """

    names: str | Sequence[str] | Mapping[str, Sequence[str]] | None = None
    threshold: float | None = None
    heads: str | Sequence[str] | Mapping[str, str] | None = None
    output: int | str | Readout | None = None

    name: ClassVar[str] = "multilabel"

    def __post_init__(self) -> None:
        parse_heads(self.heads)
        parse_label_names(self.names)
        object.__setattr__(self, "threshold", _threshold(self.threshold))

    def columns(self, model: Model, images: Images, target: TargetSpec) -> TaskColumns:
        given = model.given_output if self.output is None else readout_for(self.output)
        heads = find_heads(model, images, given, parse_heads(self.heads))
        names = column_names(parse_label_names(self.names), heads, model.names)
        readout, kind = _readout(given, heads)
        scores = model.with_readout(readout).scores(images)
        found = probabilities(two_sided(scores, kind), kind)[0]
        # A single label has two columns, "not" and the label itself.
        both = two_names(names, scores.shape[1], kind) or names
        default = POSITIVE if len(names) == 1 else int(found.argmax())
        return TaskColumns(
            readout,
            names,
            head=kind,
            column=column_index(target, found, both, default),
            task=self.name,
            remarks=tuple(self._remarks(heads, found, both)),
            passes=2 + sum(head.passes for head in heads),
        )

    def _remarks(
        self, heads: Sequence[LabelHead], found: Columns, names: Sequence[str]
    ) -> Iterator[str]:
        yield from _about(heads)
        kinds = [head.kind for head in heads if head.labels > 1]
        if kinds == ["probabilities"] and len(heads) == 1 and adds_up(found[None]):
            yield (
                "The probabilities add up to one, as those of a classifier with one class per "
                "picture do. To explain its classes, leave task= (--task) out."
            )
        if self.threshold is None:
            return
        present = [i for i in found.argsort(descending=True).tolist() if found[i] >= self.threshold]
        listed = ", ".join(f"{names[i]} {found[i]:.0%}" for i in present[:MOST_LISTED])
        yield (
            f"{len(present)} of {len(found)} labels have a probability of at least "
            f"{self.threshold:g}{': ' if present else ''}{listed}"
            f"{', …' if len(present) > MOST_LISTED else ''}."
        )


def _readout(given: Readout | None, heads: Sequence[LabelHead]) -> tuple[Readout, Head]:
    """The readout of all labels, and the kind of its scores."""
    if len(heads) == 1:
        return HeadReadout(given, heads[0].entry), heads[0].kind
    pairs: list[tuple[HeadReadout, Kind]] = [
        (HeadReadout(given, head.entry), head.kind) for head in heads
    ]
    return Probabilities(tuple(pairs)), "probabilities"


def _about(heads: Sequence[LabelHead]) -> Iterator[str]:
    """The kinds of the heads, and how they were found: a sentence or two for each case."""
    cases: dict[tuple[Kind, Evidence], list[str]] = {}
    for head in heads:
        cases.setdefault((head.kind, head.evidence), []).append(head.name)
    for (kind, evidence), names in cases.items():
        some = ", ".join(quoted(name) for name in names[:MOST_LISTED] if name)
        more = ", …" if len(names) > MOST_LISTED else ""
        which = (
            f"The {'heads' if len(names) > 1 else 'head'} {some}{more}" if some else "The output"
        )
        yield KINDS_IN_WORDS[kind, evidence].format(
            which=which, s="" if len(names) > 1 else "s", head=f"{names[0]}=" if names[0] else ""
        )


KINDS_IN_WORDS: dict[tuple[Kind, Evidence], str] = {
    ("logits", "given"): "{which} give{s} logits of one label among several: softmax.",
    ("sigmoid", "given"): "{which} give{s} logits of labels that can occur together: sigmoid.",
    ("probabilities", "given"): "{which} give{s} probabilities.",
    ("logits", "outside"): "{which} give{s} numbers outside 0 to 1: logits, taken as those of one "
    "label among several (softmax). If labels can occur together, give heads='{head}sigmoid' "
    "(--heads).",
    ("sigmoid", "outside"): "{which} give{s} numbers outside 0 to 1: logits, taken as those of "
    "labels that can occur together (sigmoid). If exactly one is right, give heads='{head}logits' "
    "(--heads).",
    ("sigmoid", "certain"): "{which} give{s} a logit: sigmoid.",
    ("probabilities", "certain"): "{which} give{s} probabilities.",
    ("probabilities", "bounded"): "{which} give{s} numbers from 0 to 1, taken as probabilities. If "
    "they are logits, give heads='{head}sigmoid' (--heads).",
}
"""What is known about heads of each kind, by how it was found."""


def _threshold(threshold: Any) -> float | None:
    """Raises SettingError if this is no probability."""
    value = parse_real(threshold) if isinstance(threshold, str) else threshold
    if threshold is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= cast("float", value) <= 1:
        raise SettingError(
            f"threshold={quoted(threshold)} is not a probability.",
            do="Give a number between 0 and 1, such as threshold=0.5 (--threshold 0.5).",
        )
    return float(cast("float", value))
