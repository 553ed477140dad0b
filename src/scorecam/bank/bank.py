"""The score bank: everything the model was asked about one image.

Masked passes are dear, and their answers hold more than one heatmap: every class, every variant
and every contrast can be read from them later, without the model.
"""

from __future__ import annotations

import dataclasses
import json
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
from scorecam.bank import file, storage
from scorecam.bank.parts import MOST_PAIRS, TYPES, check_lengths, check_parts, check_values
from scorecam.bank.record import Provenance, Record
from scorecam.base.once import cached_property
from scorecam.base.wording import excerpt, quoted, summary
from scorecam.budget.estimate import error_of, estimate
from scorecam.budget.gaussian_process import Posterior, Surrogate
from scorecam.budget.search import large_columns
from scorecam.cam import Answers, Head, Masking, Variant, find_variant
from scorecam.errors import BankError, OutputError, SettingError
from scorecam.images.opening import VIEW, Accepts, opened
from scorecam.images.photo import MAX_PIXELS
from scorecam.io.arguments import path as as_path
from scorecam.io.arguments import sizes
from scorecam.io.ranges import INDEX
from scorecam.model.columns import reduced
from scorecam.model.target import Target, find_target, in_short
from scorecam.shapes import Activations, Columns, Grid, Heatmap, Scores, Weights

__all__ = ["Provenance", "ScoreBank"]

_VIEW = Accepts("a picture", VIEW, BankError)


@dataclass(frozen=True, eq=False)
class ScoreBank:
    """Everything the model was asked about one image, and what it answered.

    Args:
        activations: A, `k *g` float32, raw.
        live: the channels that have a mask, `l` int64.
        asked: the channels whose masks were put to the model, `s` int64, some or all of `live`.
        scores: Z_S, `s n` float32: the readout for each of those masked images.
        image_scores: Z(X), `n` float32.
        fill_scores: Z(fill), `n` float32.
        size: the image's axes `*i`.
        masking: how maps became masks.
        head: what the scores are.
        names: one per column, where known.
        layer: the explained layer.
        provenance: where the answers come from.
        view: what the model saw, as a JPEG, where a photo was given.
        columns: which columns `scores` has, in order, where some were left out (see `keep`).
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

    def __post_init__(self) -> None:
        try:
            if not isinstance(self.head, str) or self.head not in get_args(Head):
                raise ValueError(f"the head {quoted(self.head, 40)} is not one that scores have")
            if not isinstance(self.names, tuple | list | None):
                raise ValueError(f"its names are {quoted(self.names)}")  # noqa: TRY004  (see below)
            check_parts(_tensors(self), size=self.size, names=self.names)
        except ValueError as error:
            raise BankError(
                f"These are not the parts of a score bank: {error}.",
                likely="They may come from different banks, or from a changed file.",
                do="Let ScoreCAM(...).bank(image) make a bank, or ScoreBank.load read one.",
            ) from error

    @summary
    def __repr__(self) -> Iterator[str]:
        yield in_short(self.target())
        yield from self.in_short()
        yield "official"  # the variant that is read where none is named

    def in_short(self) -> Iterator[str]:
        """How many of its masks were scored, and the layer with its grid, for one line of text."""
        yield f"{len(self.asked)} of {len(self.activations)} masks"
        yield f"layer {excerpt(self.layer, 60)} {'×'.join(map(str, self.activations.shape[1:]))}"

    def target(self, target: int | str | None = None) -> Target:
        """The column meant by an index, a name, or None for the prediction.

        Raises:
            TargetError: there is no such column.
        """
        return find_target(target, self.image_scores, self.names, self.head)

    @cached_property
    def answered(self) -> Tensor:
        """Which of the asked masks got finite answers, `s` bool; the others are left out."""
        return self.scores.isfinite().all(dim=1)

    @property
    def exact(self) -> bool:
        """Whether every mask was asked about."""
        return len(self.asked) == len(self.live)

    @cached_property
    def _shown(self) -> Tensor:
        """The channels that enter the heatmap: those with a mask whose answer is not lost."""
        lost = torch.zeros(len(self.activations), dtype=torch.bool, device=self.live.device)
        lost[self.asked[~self.answered]] = True
        return self.asked[self.answered] if self.exact else self.live[~lost[self.live]]

    @cached_property
    def _process(self) -> tuple[Surrogate, Tensor, Tensor]:
        """The process over the masks that enter the map; each channel's mask; the masks' channels.

        The last are numbers among the channels that enter, one for each distinct mask.
        """
        maps = self.activations[self._shown]
        first, inverse = cam.distinct(maps, self.masking)
        return Surrogate(maps, first, inverse, self.provenance.seed), inverse, first

    @cached_property
    def _surrogate(self) -> tuple[Posterior, Tensor, Scores]:
        """What is known of the masks that enter the map, each one's number, and the answers."""
        surrogate, inverse, first = self._process
        count, device = len(self.activations), self.activations.device
        answers = torch.full((count,), -1, dtype=torch.int64, device=device)
        answers[self.asked] = torch.arange(len(self.asked), device=device)
        # The row of each mask's answer: all channels that share a mask were asked, or none.
        rows = torch.full_like(first, -1).scatter_reduce(
            0, inverse, answers[self._shown], reduce="amax"
        )
        asked = (rows >= 0).nonzero()[:, 0]
        posterior = surrogate.given(asked.tolist())
        return posterior, inverse, self.scores[rows[asked]]

    @cached_property
    def completed(self) -> Scores:
        """Z of every channel that enters the map: as answered, or else predicted from the answers.

        Predictions are made anew on reading, linearly in the answers, and are never stored.
        """
        if self.exact:
            return self.scores[self.answered]
        with cam.exact_products(self.activations.device):
            posterior, inverse, answers = self._surrogate
            return posterior.complete(answers)[inverse]

    def _kept(self, columns: Columns) -> Columns:
        """Z of one image in the columns of `scores`."""
        if self.columns is None:
            return columns
        return reduced(columns[None], self.columns, self.head)[0]

    @property
    def _fill(self) -> Columns:
        """Z(fill) in the columns of `scores`."""
        return self._kept(self.fill_scores)

    @cached_property
    def _fields(self) -> Annotated[Tensor, "cells n"]:
        """The evidence field of every column (see `Surrogate.field`)."""
        surrogate, _, first = self._process
        if len(first) ** 2 > MOST_PAIRS:
            most = math.isqrt(MOST_PAIRS)
            raise BankError(
                f"This variant compares every mask with every other, and there are {len(first):,}: "
                f"more than {most:,}, which is the limit.",
                do="Use another variant, such as official, or a layer with fewer channels.",
            )
        with cam.exact_products(self.activations.device):
            return surrogate.field(self.completed[first], self._fill, self._kept(self.image_scores))

    def _field(self, index: int) -> Grid:
        """The evidence field of one column on the layer's grid, signed."""
        if not len(self._shown):
            return self.activations.new_zeros(self.activations.shape[1:])
        return self._process[0].on_grid(self._fields[:, self.place(index)])

    def weights(
        self, target: int | str | None = None, variant: str | Variant = "official"
    ) -> Weights:
        """α for one target, `k` float32; zero for channels without a mask or an answer."""
        index = self.target(target).index
        weights = self.activations.new_zeros(len(self.activations))
        if self.answered.any():
            answers = Answers(self.completed, self._fill, self.head)
            found = find_variant(variant).weights(answers, self.place(index))
            # What the model says of the empty image may not be finite.
            weights[self._shown] = found.nan_to_num(0.0, 0.0, 0.0)
        return weights

    def error(self, target: int | str | None = None, variant: str | Variant = "official") -> float:
        """The estimated largest absolute error of the scaled heatmap, in [0, 1].

        0 where every mask was asked about. Otherwise what the surrogate does not know, seen through
        the map: smaller for the target and variant that the masks were chosen for than for others.

        Raises:
            TargetError: there is no such column.
            SettingError: there is no such variant.
            BankError: the bank was saved without that column.
        """
        column, how = self.place(self.target(target).index), find_variant(variant)
        if self.exact:
            return 0.0
        if not self.answered.any():
            return 1.0
        with cam.exact_products(self.activations.device):
            posterior, _, answers = self._surrogate
            ends = torch.stack([self._fill, self._kept(self.image_scores)])
            if self.columns is None:
                columns, column = large_columns(self.image_scores, column)
                answers = reduced(answers, columns, self.head)
                ends = reduced(ends, columns, self.head)
            estimated = estimate(posterior, answers, ends, head=self.head, aim=(column, how))
            return error_of(posterior, answers, estimated)

    def heatmap(
        self,
        target: int | str | None = None,
        variant: str | Variant = "official",
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
        how, size = find_variant(variant), self._size(size)
        index = self.target(target).index
        return self._map(self.weights(index, how), self._field(index) if how.field else None, size)

    def contrast(
        self,
        target: int | str,
        other: int | str,
        variant: str | Variant = "official",
        size: Sequence[int] | None = None,
    ) -> Heatmap:
        """What speaks for `target` rather than `other`: the heatmap of α(target) − α(other)."""
        how, size = find_variant(variant), self._size(size)
        one, two = self.target(target).index, self.target(other).index
        field = self._field(one) - self._field(two) if how.field else None
        return self._map(self.weights(one, how) - self.weights(two, how), field, size)

    def _size(self, size: Sequence[int] | None) -> tuple[int, ...]:
        """The axes of a map that is asked for."""
        return self.size if size is None else sizes("size", size, len(self.size), MAX_PIXELS)

    def _map(self, weights: Weights, field: Grid | None, size: tuple[int, ...]) -> Heatmap:
        # Only channels with a mask enter: those left out may hold NaN, and 0 · NaN is NaN.
        shown = self.activations[self.live]
        return cam.heatmap(shown, weights[self.live], size, field)

    def picture(self) -> Image.Image | None:
        """What the model saw, RGB, where a photo was given.

        Raises:
            BankError: it is not a JPEG, is damaged, or has another size than the model's input.
        """
        if self.view is None:
            return None
        with opened(self.view, _VIEW, "The bank's picture") as found:
            if found.image.size[::-1] != self.size:
                raise BankError(
                    f"The bank's picture has {found.image.width} × {found.image.height} pixels, "
                    f"but the model's input has the axes {self.size}."
                )
            return found.image.convert("RGB")

    def keep(self, classes: int | Sequence[int | str]) -> ScoreBank:
        """The bank with these columns only: so many of the largest, or the ones named.

        For logits one more column is kept, in which the others' probability is summed, so that
        probabilities stay what they were.

        Raises:
            TargetError: there is no such column.
            BankError: the bank was saved without it.
            SettingError: none is asked for.
        """
        columns = self._chosen(classes)
        places = [self.place(column) for column in columns]
        if not columns:
            raise SettingError(f"keep({quoted(classes)}) keeps no class.", do="Keep at least one.")
        if len(columns) == (len(self.image_scores) if self.columns is None else len(self.columns)):
            return self
        scores = reduced(self.scores, torch.tensor(places), self.head)
        # A mask's answer may be lost in a column that is left out: it stays lost.
        scores = scores.masked_fill(~self.answered[:, None], math.nan)
        return dataclasses.replace(self, scores=scores, columns=torch.tensor(columns))

    def _chosen(self, classes: int | Sequence[int | str]) -> list[int]:
        """The columns of so many of the largest among those that are here, or of the ones named."""
        if isinstance(classes, int | np.integer) and not isinstance(classes, bool):
            here = range(len(self.image_scores)) if self.columns is None else self.columns.tolist()
            largest = sorted(here, key=self.image_scores.tolist().__getitem__, reverse=True)
            return sorted(largest[: max(int(classes), 0)])
        endless = isinstance(classes, bool) or getattr(classes, "ndim", 1) == 0
        if endless or not isinstance(classes, Iterable):
            raise SettingError(
                f"keep({quoted(classes)}) is neither a number of classes nor a list of them.",
                do="Give how many of the largest to keep, or their names or indices.",
            )
        named = [classes] if isinstance(classes, str) else classes
        return sorted({self.target(name).index for name in named})

    def place(self, index: int) -> int:
        """Where the column of this index lies among the columns of `scores`.

        Raises:
            BankError: the bank was saved without it.
        """
        index = INDEX.check("index", index)
        if self.columns is None:
            return index
        found = (self.columns == index).nonzero()
        if len(found):
            return int(found[0, 0])
        kept = [self.names[i] if self.names else str(i) for i in self.columns.tolist()]
        missing = self.names[index] if self.names else f"class {index}"
        raise BankError(
            f"This bank lacks {missing}: it keeps {len(kept)} of the model's "
            f"{len(self.image_scores)} columns ({', '.join(kept[:20])}"
            f"{', ...' if len(kept) > 20 else ''}).",
            likely="It was saved with fewer classes to make it small.",
            do="Explain the image again and save all classes, or keep this one too.",
        )

    # ── file ─────────────────────────────────────────────────────────────────────────────────

    def save(
        self, path: str | os.PathLike[str], classes: int | Sequence[int | str] | None = None
    ) -> None:
        """Write the bank to one safetensors file; a file of that name is replaced.

        Maps and log-probabilities are kept in float16: a heatmap read from the file differs from
        the one in memory by about a thousandth.

        Args:
            classes: keep only so many of the largest columns, or the ones named; None for all.

        Raises:
            OutputError: it cannot be written.
            TargetError, BankError, SettingError: see `keep`.
        """
        if classes is not None:
            self.keep(classes).save(path)
            return
        logits = self.head == "logits" and self.scores.shape[1] > 1
        count = len(self.activations)
        tensors = {
            **storage.pack_maps(self.activations, self.live),
            **storage.pack_scores("scores", self.scores, logits=logits),
            "live": storage.pack_channels(self.live, count),
            "asked": storage.pack_channels(self.asked, count),
            "image_scores": self.image_scores.cpu().contiguous(),
            "fill_scores": self.fill_scores.cpu().contiguous(),
            "names": storage.pack_text(self.names),
        }
        if self.columns is not None:
            tensors["columns"] = self.columns.cpu().to(torch.int32)
        if self.view is not None:
            tensors["view"] = torch.frombuffer(bytearray(self.view), dtype=torch.uint8)
        record = Record(self.size, self.masking, self.head, self.layer, self.provenance).to_dict()
        # Only files of earlier versions hold such channels; a bank read from one keeps them.
        if rounded := bool(len(storage.flat(self.activations[self.live]))):
            record["rounded"] = True
        try:
            # What could not be read again is not written.
            check_lengths(count, len(self.image_scores))
            Record.from_dict(json.loads(json.dumps(record)))
            rest = self.head == "logits"
            check_values(_tensors(self), self.size, rest=rest, flat_allowed=rounded)
        except (TypeError, ValueError) as error:
            raise BankError(
                f"This bank cannot be saved: {error}.",
                do="Change what it holds, or keep the heatmap instead.",
            ) from error
        file.write(as_path("path", path, OutputError), tensors, record)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> ScoreBank:
        """Read a bank that `save` wrote.

        The file is untrusted: its size bounds the memory that reading it takes (see `bankfile`),
        and what `save` cannot have written is refused. A file that was changed after it was saved
        is refused by its checksum; files of earlier versions have none.

        Raises:
            BankError: the file is missing, damaged, or not a bank of this version.
        """
        record, tensors, confirmed = file.read(path)
        try:
            flat_allowed = not confirmed or record.get("rounded") is True
            return _from_file(Record.from_dict(record), tensors, flat_allowed=flat_allowed)
        except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise file.unreadable(path, error) from error


def _tensors(bank: ScoreBank) -> dict[str, Tensor | None]:
    return {name: getattr(bank, name) for name in TYPES}


def _fits_view(bank: ScoreBank) -> bool:
    """Whether the picture of what the model saw, if there is one, has the size of its input."""
    try:
        bank.picture()
    except BankError as error:
        raise ValueError("its picture cannot be decoded, or is of another size") from error
    return True


def _from_file(record: Record, tensors: dict[str, Tensor], *, flat_allowed: bool) -> ScoreBank:
    """The bank in a file's record and tensors.

    Args:
        flat_allowed: whether the maps of live channels may be flat (see `check_values`).

    Raises:
        KeyError, ValueError, BankError: there is none in them.
    """
    size = sum(tensor.nbytes for tensor in tensors.values())
    longest = storage.LONGEST_NAMES + 4 * size
    image_scores, view = tensors["image_scores"], tensors.get("view")
    check_lengths(1, image_scores.numel())
    names = storage.unpack_text(tensors["names"], image_scores.numel(), longest)
    activations = storage.unpack_maps(tensors)
    columns = tensors.get("columns")
    bank = ScoreBank(
        activations=activations,
        live=storage.unpack_channels(tensors["live"], len(activations)),
        asked=storage.unpack_channels(tensors["asked"], len(activations)),
        scores=storage.unpack_scores("scores", tensors),
        image_scores=image_scores,
        fill_scores=tensors["fill_scores"],
        size=record.size,
        masking=record.masking,
        head=record.head,
        names=None if names is None else tuple(names),
        layer=record.layer,
        provenance=record.provenance,
        view=None if view is None else view.numpy().tobytes(),
        columns=None if columns is None else columns.long(),
    )
    rest = bank.head == "logits"
    check_values(_tensors(bank), bank.size, rest=rest, flat_allowed=flat_allowed)
    if not _fits_view(bank):
        raise ValueError("its picture is not of its size")
    return bank
