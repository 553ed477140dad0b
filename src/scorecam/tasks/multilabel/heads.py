"""The heads of a network: which tensors of its output are labels, and what kind each is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor

from scorecam.base.wording import quoted
from scorecam.errors import SettingError, TargetError, did_you_mean
from scorecam.io.arguments import choice
from scorecam.model.head import detected_alone
from scorecam.model.model import Model
from scorecam.model.readout import Readout, called, entries_of, part
from scorecam.shapes import BatchedScores, Images

Kind = Literal["logits", "sigmoid", "probabilities"]
"""What a head's numbers are: logits of one label among several, logits of labels that do not
exclude each other, or probabilities."""

Evidence = Literal["given", "outside", "certain", "bounded"]
"""How a kind was found: by the user; numbers are outside [0, 1]; they are certainly probabilities;
or all are in [0, 1], which logits can be too."""

KINDS = ("auto", "logits", "sigmoid", "probabilities")

WHOLE = ""
"""The name of the only head."""

MOST_HEADS = 100
"""The most heads of a network."""


@dataclass(frozen=True)
class LabelHead:
    """One head of a network.

    Args:
        name: empty if it is the only one.
        entry: its name or index in the output; None for all of the output.
        labels: how many it has.
        kind: what its numbers are.
        evidence: how the kind was found.
        passes: images scored to find it.
    """

    name: str
    entry: int | str | None
    labels: int
    kind: Kind
    evidence: Evidence = "given"
    passes: int = 0


@dataclass(frozen=True)
class HeadReadout:
    """The numbers of one head, `b n`.

    Args:
        given: which part of the output the user named; None for all of it.
        entry: see `LabelHead`.
    """

    given: Readout | None
    entry: int | str | None

    def __call__(self, output: Any) -> Tensor:
        found = output if self.given is None else self.given(output)
        return rows(found if self.entry is None else part(found, self.entry))


@dataclass(frozen=True, eq=False)
class Probabilities:
    """The readout of several heads: the probabilities of all labels, `b n`, head by head."""

    heads: tuple[tuple[HeadReadout, Kind], ...]

    @property
    def trace_key(self) -> Hashable:
        return tuple(readout for readout, _ in self.heads)

    def __call__(self, output: Any) -> BatchedScores:
        return torch.cat([_squashed(readout(output), kind) for readout, kind in self.heads], dim=1)


def _squashed(numbers: Tensor, kind: Kind) -> BatchedScores:
    if kind == "probabilities":
        return numbers.float()
    return numbers.float().softmax(1) if kind == "logits" else numbers.float().sigmoid()


def rows(numbers: Any) -> Tensor:
    """A head's numbers as one row per image; anything else as it is, for `readout.read`."""
    if not isinstance(numbers, Tensor):
        return numbers
    if numbers.ndim < 2:
        return numbers.reshape(-1, 1)
    alone = max(numbers.shape[1:]) == numbers.shape[1:].numel()
    return numbers.reshape(numbers.shape[0], -1) if alone else numbers


def is_head(entry: Any) -> bool:
    """Whether a part of an output may be a head: one row of real numbers per image."""
    return isinstance(entry, Tensor) and entry.is_floating_point() and rows(entry).ndim == 2


# ── what users say ───────────────────────────────────────────────────────────────────────────


def parse_heads(heads: Any) -> dict[str, str] | None:
    """The heads that a user chose, each with its kind or "auto"; None for all.

    Args:
        heads: a kind for all; a dict from names to kinds; a list of names; or a text such as
            "colour, shape=sigmoid".

    Raises:
        SettingError: it is none of these.
    """
    if heads is None:
        return None
    do = (
        "With heads= (--heads), give a kind for all heads, or heads with kinds, such as "
        "'colour=logits, shape=sigmoid'. Kinds: " + ", ".join(KINDS) + "."
    )
    if isinstance(heads, str) and heads.strip() in KINDS:
        return {WHOLE: heads.strip()}
    if isinstance(heads, str):
        heads = dict(_pair(each) for each in heads.split(","))
    elif isinstance(heads, Sequence):
        heads = dict.fromkeys(cast("Sequence[Any]", heads), "auto")
    if not isinstance(heads, Mapping) or not 0 < len(cast("Any", heads)) <= MOST_HEADS:
        raise SettingError(f"heads={quoted(heads)} is not a list of heads.", do=do)
    chosen = dict(cast("Mapping[Any, Any]", heads))
    if not all(isinstance(name, str | int) and name != WHOLE for name in chosen):
        raise SettingError(f"heads={quoted(heads)} has a head without a name.", do=do)
    return {str(name): choice("kind of head", kind, KINDS) for name, kind in chosen.items()}


def _pair(text: str) -> tuple[str, str]:
    name, equals, kind = text.partition("=")
    return name.strip(), kind.strip() if equals else "auto"


# ── what the output says ─────────────────────────────────────────────────────────────────────


def find_heads(
    model: Model, images: Images, given: Readout | None, chosen: dict[str, str] | None
) -> list[LabelHead]:
    """The heads in the model's output for one image, with their kinds.

    Args:
        images: `1 c *i`.
        given: see `HeadReadout`.
        chosen: from `parse_heads`.

    Raises:
        TargetError: there are none, or one of the chosen does not exist.
    """
    output = model.output(images)
    entries = _entries(output if given is None else called(given, output))
    kinds = _chosen(entries, chosen)
    alone = len(kinds) == 1
    unnamed = alone and (chosen is None or WHOLE in chosen)
    found: list[LabelHead] = []
    for entry, kind in kinds.items():
        labels = rows(entries[entry]).shape[1]
        head = LabelHead(WHOLE if unnamed else name_of(entry), entry, labels, cast("Kind", kind))
        if kind == "auto":
            head = _detected(head, model.with_readout(HeadReadout(given, entry)), images, alone)
        elif kind == "logits" and labels == 1:
            head = replace(head, kind="sigmoid")  # one logit has nothing to compare with
        found.append(head)
    return found


def name_of(entry: int | str | None) -> str:
    """The name of a head, by its entry in the output."""
    return WHOLE if entry is None else f"head {entry}" if isinstance(entry, int) else str(entry)


def _entries(output: Any) -> dict[int | str | None, Tensor]:
    """The parts of an output that may be heads, by name or index; None for all of the output.

    Raises:
        TargetError: there are none.
    """
    if is_head(output):
        return {None: output}
    entries = {} if isinstance(output, Tensor) else entries_of(output)
    heads = {key: entry for key, entry in entries.items() if is_head(entry)}
    if 0 < len(heads) <= MOST_HEADS:
        return heads
    kind = type(output).__name__
    shape = f" of the shape {tuple(output.shape)}" if isinstance(output, Tensor) else ""
    raise TargetError(
        f"The model's output, a {kind}{shape}, holds {len(heads) or 'no'} heads of labels: tensors "
        "with one row of real numbers per image.",
        likely="It may be nested, a map, or class indices."
        if not heads
        else f"At most {MOST_HEADS} can be columns.",
        do="Say where they are with output= (--output).",
    )


def _chosen(
    entries: Mapping[int | str | None, Tensor], chosen: Mapping[str, str] | None
) -> dict[int | str | None, str]:
    """The entries of the heads that the user means, each with its kind or "auto".

    Raises:
        TargetError: one does not exist.
    """
    if chosen is None or list(chosen) == [WHOLE]:
        own = ["logits"] if isinstance(entries.get("logits"), Tensor) else list(entries)
        return dict.fromkeys(own, (chosen or {}).get(WHOLE, "auto"))
    names = {str(entry): entry for entry in entries} | {name_of(entry): entry for entry in entries}
    for name in chosen:
        if name not in names:
            raise TargetError(
                f"The model's output has no head {quoted(name)}.",
                likely=did_you_mean(name, names),
                do=f"It has {', '.join(quoted(name_of(entry)) for entry in list(entries)[:20])}: "
                "heads= (--heads)."
                if None not in entries
                else "It is a single tensor: give only its kind with heads= (--heads).",
            )
    return {names[name]: kind for name, kind in chosen.items()}


def _detected(head: LabelHead, scored: Model, images: Images, alone: bool) -> LabelHead:
    """The head with the kind that its scores show.

    Args:
        scored: the model with the head's numbers as scores.
        alone: whether there are no other heads.
    """
    found = detected_alone(scored, images)
    kind: Kind = "sigmoid" if alone or head.labels == 1 else "logits"
    evidence: Evidence = "outside"
    if head.labels == 1:  # a sigmoid is the only choice
        evidence = "certain"
    if found.head == "probabilities" or found.bounded:
        kind = "probabilities"
        evidence = "certain" if found.head == "probabilities" else "bounded"
    return replace(head, kind=kind, evidence=evidence, passes=found.passes)
