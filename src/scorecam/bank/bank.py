"""The score bank: the scores of one image under its masks.

Scoring masked images is the expensive part. The scores contain the heatmaps of every class,
variant and contrast, which can be read from the bank later, without the model.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scorecam import cam
from scorecam.bank import file
from scorecam.bank.completion import Completion
from scorecam.bank.packing import Parts, pack, unpack
from scorecam.bank.parts import TYPES, check_parts
from scorecam.bank.record import Provenance, Record
from scorecam.bank.view import view_picture
from scorecam.base.blocks import chosen
from scorecam.base.cached_property import cached_property
from scorecam.base.wording import excerpt, quoted, summary
from scorecam.budget.estimate import estimate, uncertainty_of
from scorecam.budget.search import large_columns
from scorecam.cam import VARIANTS, Answers, Head, Masking, Variant
from scorecam.errors import BankError, OutputError, SettingError
from scorecam.images.photo import MAX_PIXELS
from scorecam.io.arguments import path as as_path
from scorecam.io.arguments import sizes
from scorecam.io.ranges import INDEX
from scorecam.model.columns import reduced
from scorecam.model.target import Target, find_target
from scorecam.model.task_columns import Boxes, RegionMasks
from scorecam.model.variants import resolved
from scorecam.shapes import Activations, Columns, Grid, Heatmap, Scores, Weights

__all__ = ["Provenance", "ScoreBank"]


@dataclass(frozen=True, eq=False)
class ScoreBank:
    """The scores of one image under its masks, and everything needed to read heatmaps from them.

    Args:
        activations: A, `k *g` float32, not scaled.
        live: the channels that have a mask, `l` int64.
        asked: the channels whose masks were scored, `s` int64: some or all of `live`.
        scores: Z_S, `s n` float32: the readout for each of those masked images.
        image_scores: Z(X), `n` float32.
        fill_scores: Z(fill), `n` float32.
        size: the image's axes `*i`.
        masking: how activations became masks.
        head: the kind of the scores.
        names: one per column, if known.
        layer: the explained layer.
        provenance: how the scores were computed.
        view: the model's input as a JPEG, if a photo was explained.
        columns: the columns that `scores` has, in order, if some were left out (see `keep`).
        boxes, masks: where the answer of each column is in the input, if a task found them.
    """

    activations: Activations
    live: Tensor
    asked: Tensor
    scores: Scores
    image_scores: Columns
    fill_scores: Columns
    size: tuple[int, ...]
    masking: Masking
    head: Head
    names: tuple[str, ...] | None
    layer: str
    provenance: Provenance
    view: bytes | None = None
    columns: Tensor | None = None
    boxes: Boxes | None = None
    masks: RegionMasks | None = None

    def __post_init__(self) -> None:
        try:
            if not isinstance(self.head, str) or self.head not in get_args(Head):
                raise ValueError(f"the head {quoted(self.head, 40)} is unknown")
            if not isinstance(self.names, tuple | list | None):
                raise ValueError(f"its names are {quoted(self.names)}")  # noqa: TRY004  (see below)
            check_parts(_tensors(self), size=self.size, names=self.names)
        except ValueError as error:
            raise BankError(
                f"These are not the parts of a score bank: {error}.",
                likely="They may come from different banks, or from a changed file.",
                do="Make a bank with ScoreCAM(...).bank(image), or read one with ScoreBank.load.",
            ) from error

    @summary
    def __repr__(self) -> Iterator[str]:
        yield self.target().title
        yield from self.in_short()
        yield self.variant().name

    def in_short(self) -> Iterator[str]:
        """How many masks were scored, and the layer with its grid, for one line of text."""
        yield f"{len(self.asked)} of {len(self.activations)} masks"
        yield f"layer {excerpt(self.layer, 60)} {'×'.join(map(str, self.activations.shape[1:]))}"

    def target(self, target: int | str | None = None) -> Target:
        """The column meant by an index, a name, or None for the prediction.

        Raises:
            TargetError: there is no such column.
        """
        made = self.provenance
        if target is None and 0 <= made.column < len(self.image_scores):
            target = made.column
        found = find_target(target, self.image_scores, self.names, self.head)
        text = made.values[found.index] if found.index < len(made.values) else ""
        return dataclasses.replace(found, unit=made.unit, text=text)

    def variant(self, variant: str | Variant = "auto") -> Variant:
        """The variant with this name; "auto" is the one that suits the scores and the layer.

        Raises:
            SettingError: there is no such variant.
        """
        return resolved(variant, VARIANTS[self.provenance.auto])

    @cached_property
    def _completion(self) -> Completion:
        return Completion(
            activations=self.activations,
            live=self.live,
            asked=self.asked,
            scores=self.scores,
            masking=self.masking,
            seed=self.provenance.seed,
        )

    @property
    def answered(self) -> Tensor:
        """Which of the scored masks have finite scores, `s` bool; the others are ignored."""
        return self._completion.answered

    @property
    def exact(self) -> bool:
        """Whether every mask was scored."""
        return self._completion.exact

    @property
    def completed(self) -> Scores:
        """Z of every channel that enters the heatmap: computed, or predicted on reading."""
        return self._completion.scores_of_channels

    def _kept(self, columns: Columns) -> Columns:
        """The scores of one image in the columns of `scores`."""
        if self.columns is None:
            return columns
        return reduced(columns[None], self.columns, self.head)[0]

    @property
    def _fill(self) -> Columns:
        """Z(fill) in the columns of `scores`."""
        return self._kept(self.fill_scores)

    @cached_property
    def _fields(self) -> Annotated[Tensor, "cells n"]:
        """The evidence field of every column."""
        return self._completion.fields(self._fill, self._kept(self.image_scores))

    def _field(self, index: int) -> Grid:
        """The evidence field of one column on the layer's grid, signed."""
        if not len(self._completion.channels):
            return self.activations.new_zeros(self.activations.shape[1:])
        return self._completion.on_grid(self._fields[:, self.place(index)])

    def weights(self, target: int | str | None = None, variant: str | Variant = "auto") -> Weights:
        """α for one target, `k` float32; zero for channels without a mask or a finite score."""
        index = self.target(target).index
        weights = self.activations.new_zeros(len(self.activations))
        if self.answered.any():
            answers = Answers(self.completed, self._fill, self.head)
            own = self.variant(variant).weights(answers, self.place(index))
            # The scores of the empty image may not be finite.
            weights[self._completion.channels] = own.nan_to_num(0.0, 0.0, 0.0)
        return weights

    def error(self, target: int | str | None = None, variant: str | Variant = "auto") -> float:
        """The estimated largest absolute error of the scaled heatmap, in [0, 1].

        0 if every mask was scored. It is smaller for the target and variant that the masks were
        selected for than for others.

        Raises:
            TargetError: there is no such column.
            SettingError: there is no such variant.
            BankError: the bank was saved without that column.
        """
        column, variant = self.place(self.target(target).index), self.variant(variant)
        if self.exact:
            return 0.0
        if not self.answered.any():
            return 1.0
        with cam.exact_products(self.activations.device):
            posterior, scores = self._completion.known.posterior, self._completion.known.scores
            ends = torch.stack([self._fill, self._kept(self.image_scores)])
            if self.columns is None:
                columns, column = large_columns(self.image_scores, column)
                scores = reduced(scores, columns, self.head)
                ends = reduced(ends, columns, self.head)
            estimated = estimate(posterior, scores, ends, head=self.head, aim=(column, variant))
            return uncertainty_of(posterior, scores, estimated).error

    def heatmap(
        self,
        target: int | str | None = None,
        variant: str | Variant = "auto",
        size: Sequence[int] | None = None,
    ) -> Heatmap:
        """The heatmap of one target: `*i` float32, at least 0, not scaled.

        Args:
            size: the axes of the map; None for the image's. `bank.activations.shape[1:]` gives it
                on the layer's own grid.

        Raises:
            TargetError: there is no such column.
            SettingError: there is no such variant.
        """
        variant, size = self.variant(variant), self._size(size)
        index = self.target(target).index
        field = self._field(index) if variant.field else None
        return self._map(self.weights(index, variant), field, size)

    def contrast(
        self,
        target: int | str,
        other: int | str,
        variant: str | Variant = "auto",
        size: Sequence[int] | None = None,
    ) -> Heatmap:
        """What supports `target` more than `other`: the heatmap of α(target) − α(other)."""
        variant, size = self.variant(variant), self._size(size)
        one, two = self.target(target).index, self.target(other).index
        field = self._field(one) - self._field(two) if variant.field else None
        return self._map(self.weights(one, variant) - self.weights(two, variant), field, size)

    def _size(self, size: Sequence[int] | None) -> tuple[int, ...]:
        """The axes of the map: the image's by default."""
        return self.size if size is None else sizes("size", size, len(self.size), MAX_PIXELS)

    def _map(self, weights: Weights, field: Grid | None, size: tuple[int, ...]) -> Heatmap:
        # Only channels with a mask enter: the others may hold NaN, and 0 · NaN is NaN.
        return cam.heatmap(chosen(self.activations, self.live), weights[self.live], size, field)

    def picture(self) -> Image.Image | None:
        """The model's input as a picture, RGB, if a photo was explained.

        Raises:
            BankError: it is not a JPEG, is damaged, or does not have the size of the input.
        """
        return None if self.view is None else view_picture(self.view, self.size)

    def keep(self, classes: int | Sequence[int | str]) -> ScoreBank:
        """The bank with these columns only.

        For logits, one more column holds the summed probability of the others, so that
        probabilities do not change.

        Args:
            classes: how many of the largest columns to keep, or their names or indices. The column
                that a task explains counts as the largest.

        Raises:
            TargetError: there is no such column.
            BankError: the bank was saved without it.
            SettingError: no column would be kept.
        """
        columns = self._chosen(classes)
        places = [self.place(column) for column in columns]
        if not columns:
            raise SettingError(f"keep({quoted(classes)}) keeps no class.", do="Keep at least one.")
        if len(columns) == (len(self.image_scores) if self.columns is None else len(self.columns)):
            return self
        scores = reduced(self.scores, torch.tensor(places), self.head)
        # The score that is not finite may be in a column that is left out; its mask stays ignored.
        scores = scores.masked_fill(~self.answered[:, None], math.nan)
        return dataclasses.replace(self, scores=scores, columns=torch.tensor(columns))

    def _chosen(self, classes: int | Sequence[int | str]) -> list[int]:
        """The indices of the columns to keep."""
        if isinstance(classes, int | np.integer) and not isinstance(classes, bool):
            known = range(len(self.image_scores)) if self.columns is None else self.columns.tolist()
            largest = sorted(known, key=self.image_scores.tolist().__getitem__, reverse=True)
            if (own := self.provenance.column) in largest:  # what a task explains comes first
                largest.insert(0, largest.pop(largest.index(own)))
            return sorted(largest[: max(int(classes), 0)])
        single = isinstance(classes, bool) or getattr(classes, "ndim", 1) == 0
        if single or not isinstance(classes, Iterable):
            raise SettingError(
                f"keep({quoted(classes)}) is neither a number of classes nor a list of them.",
                do="Give how many of the largest to keep, or their names or indices.",
            )
        named = [classes] if isinstance(classes, str) else classes
        return sorted({self.target(name).index for name in named})

    def place(self, index: int) -> int:
        """The place of the column with this index among the columns of `scores`.

        Raises:
            BankError: the bank was saved without it.
        """
        index = INDEX.check("index", index)
        if self.columns is None:
            return index
        places = (self.columns == index).nonzero()
        if len(places):
            return int(places[0, 0])
        kept = [self.names[i] if self.names else str(i) for i in self.columns.tolist()]
        missing = self.names[index] if self.names else f"class {index}"
        raise BankError(
            f"This bank lacks {missing}: it holds {len(kept)} of the model's "
            f"{len(self.image_scores)} columns ({', '.join(kept[:20])}"
            f"{', ...' if len(kept) > 20 else ''}).",
            likely="It was saved with fewer classes to make it small.",
            do="Explain the image again and save all classes, or keep this one too.",
        )

    # ── file ─────────────────────────────────────────────────────────────────────────────────

    def save(
        self, path: str | os.PathLike[str], classes: int | Sequence[int | str] | None = None
    ) -> None:
        """Write the bank to one safetensors file; an existing file is replaced.

        Activations and logits are stored in float16: a heatmap read from the file differs from the
        one in memory by about a thousandth.

        Args:
            classes: the columns to save, see `keep`; None for all.

        Raises:
            OutputError: it cannot be written.
            TargetError, BankError, SettingError: see `keep`.
        """
        if classes is not None:
            self.keep(classes).save(path)
            return
        record = Record(
            size=self.size,
            masking=self.masking,
            head=self.head,
            layer=self.layer,
            provenance=self.provenance,
        )
        try:
            entries, tensors = pack(Parts(_tensors(self), record, self.names, self.view))
        except (TypeError, ValueError) as error:
            raise BankError(
                f"This bank cannot be saved: {error}.",
                do="Change what it holds, or keep the heatmap instead.",
            ) from error
        file.write(as_path("path", path, OutputError), tensors, entries)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> ScoreBank:
        """Read a bank that `save` wrote.

        The file is untrusted. Its size limits the memory that reading takes (see `bank.file`), and
        anything that `save` cannot have written is refused. The checksum reveals files that were
        changed after they were saved; files of earlier versions have none.

        Raises:
            BankError: the file is missing, damaged, or not a bank of this version.
        """
        entries, tensors, confirmed = file.read(path)
        try:
            parts = unpack(entries, tensors)
            bank = ScoreBank(**parts.fields())
            parts.check(flat_allowed=not confirmed or entries.get("rounded") is True)
            _check_view(bank)
        except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise file.unreadable(path, error) from error
        return bank


def _tensors(bank: ScoreBank) -> dict[str, Tensor | None]:
    return {name: getattr(bank, name) for name in TYPES}


def _check_view(bank: ScoreBank) -> None:
    """Raises ValueError for a picture that is damaged, or not of the size of the input."""
    try:
        bank.picture()
    except BankError as error:
        raise ValueError("its picture cannot be decoded, or is of another size") from error
