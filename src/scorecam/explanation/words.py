"""The words for what each task explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from scorecam.model.target import Target


@dataclass(frozen=True)
class Words:
    """The words for one task, where `{label}` and `{value}` are those of the target.

    Args:
        lead: what the model found; the model's name is before it.
        one, many: what a column is.
        score: what its number is.
        title: the heading of a page.
        comparable: whether the evidence for one column can be subtracted from another's.
        in_order: whether the columns are read from the first to the last.
    """

    lead: str
    one: str
    many: str
    score: str = "score"
    title: str = "Why {label}?"
    comparable: bool = True
    in_order: bool = False

    def question(self, target: Target) -> str:
        """The heading of the page of a target."""
        return self.title.format(label=target.label, value=target.value)

    def sentence(self, model: str, target: Target) -> str:
        """What a model found, as a sentence."""
        return f"{model} {self.lead.format(label=target.label, value=target.value)}."


CLASSES: Final = Words("sees {label} with {value}", "class", "classes")

WORDS: Final[dict[str, Words]] = {
    "": CLASSES,
    "detect": Words("finds {label} with a score of {value}", "box", "boxes"),
    "segment": Words("marks {label} with a score of {value}", "region", "regions"),
    "similar": Words(
        "compares the picture with {label}; the similarity is {value}",
        "reference",
        "references",
        score="similarity",
        title="Why similar to {label}?",
    ),
    "regress": Words(
        "estimates {label} at {value}",
        "number",
        "numbers",
        score="number",
        title="Why {value} for {label}?",
        comparable=False,
    ),
    "multilabel": Words("sees {label} with {value}", "label", "labels"),
    "tokens": Words(
        "writes “{label}” with a log-probability of {value}",
        "token",
        "tokens",
        title="Why “{label}”?",
        comparable=False,
        in_order=True,
    ),
}
"""By `Provenance.task`; empty for the model's own classes."""


def words_for(task: str) -> Words:
    """The words of a task; those of classes for tasks of other packages."""
    return WORDS.get(task, CLASSES)
