"""The score bank: everything the model was asked about one image.

Masked passes are dear, and their answers hold more than one heatmap: every class, every variant
and every contrast can be read from them later, without the model.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scorecam import cam, storage
from scorecam.budget import error_of, large_columns, read
from scorecam.cam import Answers, Masking, Variant, find_variant
from scorecam.errors import BankError, SettingError
from scorecam.images import MAX_PIXELS, VIEW, Accepts, opened
from scorecam.model import Head, Target, find_target, reduced
from scorecam.shapes import Activations, Columns, Grid, Heatmap, Scores, Weights
from scorecam.surrogate import Posterior, Surrogate

SCHEMA = 2

_VIEW = Accepts("a picture", VIEW, BankError)


@functools.cache
def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


@dataclass(frozen=True)
class Provenance:
    """Where the answers come from.

    Args:
        model: how the model was named.
        device: where it ran.
        precision: the floating-point type that it computed in.
        forward_passes: images put to the model for this bank: the image itself, the fill, every
            masked image, the image once more, and what it took to tell the head. The one-off look
            for a default layer is not counted.
        batch_size: images per pass, after any halving.
        seconds: wall time; a batch's is shared out evenly.
        budget: which masks were asked about.
        runtime: what ran the model on the masked images.
        seed: of what was drawn to estimate the error.
        remarks: what of the photo was not read as it is stored, and what the choice of runtime and
            precision, and of the head, met with.
        unrepeated: how far apart two answers to the same image were, of the range that the answers
            about it span, in [0, 1]; 0 in banks of versions that asked but once.
        mixed: how far the answer to the image moved among other images in a batch, in the same
            units.
    """

    model: str
    device: str
    precision: str
    forward_passes: int
    batch_size: int
    seconds: float
    budget: str = "exact"
    runtime: str = "eager"
    seed: int = 0
    remarks: tuple[str, ...] = ()
    unrepeated: float = 0.0
    mixed: float = 0.0
    scorecam: str = field(default_factory=lambda: _installed("scorecam"))
    torch: str = field(default_factory=lambda: str(torch.__version__))
    python: str = field(default_factory=platform.python_version)


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

    def target(self, target: int | str | None = None) -> Target:
        """The column meant by an index, a name, or None for the prediction.

        Raises:
            TargetError: there is no such column.
        """
        return find_target(target, self.image_scores, self.names, self.head)

    @functools.cached_property
    def answered(self) -> Tensor:
        """Which of the asked masks got finite answers, `s` bool; the others are left out."""
        return self.scores.isfinite().all(dim=1)

    @property
    def exact(self) -> bool:
        """Whether every mask was asked about."""
        return len(self.asked) == len(self.live)

    @functools.cached_property
    def _shown(self) -> Tensor:
        """The channels that enter the heatmap: those with a mask whose answer is not lost."""
        lost = torch.zeros(len(self.activations), dtype=torch.bool, device=self.live.device)
        lost[self.asked[~self.answered]] = True
        return self.asked[self.answered] if self.exact else self.live[~lost[self.live]]

    @functools.cached_property
    def _process(self) -> tuple[Surrogate, Tensor, Tensor]:
        """The process over the masks that enter the map; each channel's mask; the masks' channels.

        The last are numbers among the channels that enter, one for each distinct mask.
        """
        maps = self.activations[self._shown]
        first, inverse = cam.distinct(maps, self.masking)
        return Surrogate(maps, first, inverse, self.provenance.seed), inverse, first

    @functools.cached_property
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

    @functools.cached_property
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

    @functools.cached_property
    def _fields(self) -> Annotated[Tensor, "cells n"]:
        """The evidence field of every column (see `Surrogate.field`)."""
        with cam.exact_products(self.activations.device):
            surrogate, _, first = self._process
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
            reading = read(posterior, answers, ends, self.head, (column, how))
            return error_of(posterior, answers, reading)

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
        how = find_variant(variant)
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
        how = find_variant(variant)
        one, two = self.target(target).index, self.target(other).index
        field = self._field(one) - self._field(two) if how.field else None
        return self._map(self.weights(one, how) - self.weights(two, how), field, size)

    def _map(self, weights: Weights, field: Grid | None, size: Sequence[int] | None) -> Heatmap:
        # Only channels with a mask enter: those left out may hold NaN, and 0 · NaN is NaN.
        shown = self.activations[self.live]
        return cam.heatmap(shown, weights[self.live], size or self.size, field)

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
            raise SettingError(f"keep({classes!r}) keeps no class.", do="Keep at least one.")
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
        if isinstance(classes, bool) or not isinstance(classes, Iterable):
            raise SettingError(
                f"keep({classes!r}) is neither a number of classes nor a list of them.",
                do="Give how many of the largest to keep, or their names or indices.",
            )
        named = [classes] if isinstance(classes, str) else classes
        return sorted({self.target(name).index for name in named})

    def place(self, index: int) -> int:
        """Where the column of this index lies among the columns of `scores`.

        Raises:
            BankError: the bank was saved without it.
        """
        if self.columns is None:
            return int(index)
        found = (self.columns == int(index)).nonzero()
        if len(found):
            return int(found[0, 0])
        kept = [self.names[i] if self.names else str(i) for i in self.columns.tolist()]
        missing = self.names[int(index)] if self.names else f"class {int(index)}"
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
            **storage.pack_maps(self.activations),
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
        record = {
            "schema": SCHEMA,
            "size": self.size,
            "masking": dataclasses.asdict(self.masking),
            "head": self.head,
            "layer": self.layer,
            "provenance": dataclasses.asdict(self.provenance),
        }
        storage.write(path, tensors, record)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> ScoreBank:
        """Read a bank that `save` wrote.

        Raises:
            BankError: the file is missing, damaged, or not a bank of this version.
        """
        record, tensors = storage.read(path)
        try:
            return _from_record(record, tensors)
        except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise BankError(
                f"{path} is not a score bank that this version can read ({error}).",
                likely="It may hold a model's weights, or come from another version.",
                do="Give a .safetensors file that `scorecam explain` or ScoreBank.save wrote.",
            ) from error


def _same_types(provenance: Provenance) -> bool:
    """Whether every entry is of the type that it is declared with."""
    kinds = {"int": int, "float": (int, float), "str": str, "tuple[str, ...]": tuple}
    return all(
        isinstance(getattr(provenance, entry.name), kinds[str(entry.type)])
        for entry in dataclasses.fields(provenance)
    )


def _fits_view(bank: ScoreBank) -> bool:
    """Whether the picture of what the model saw, if there is one, has the size of its input."""
    try:
        bank.picture()
    except BankError as error:
        raise ValueError("its picture cannot be decoded, or is of another size") from error
    return True


def _from_record(record: Any, tensors: dict[str, Tensor]) -> ScoreBank:
    """The bank in a file's record and tensors.

    Raises:
        KeyError, TypeError, ValueError: there is none in them.
    """
    if record is None or record["schema"] != SCHEMA:
        raise ValueError("its record names no known schema")
    masking: dict[str, Any] = dict(record["masking"])
    if isinstance(masking["fill"], list):
        masking["fill"] = tuple(masking["fill"])
    if record["head"] not in get_args(Head):
        raise ValueError(f"its head is {record['head']!r}")
    made: dict[str, Any] = dict(record["provenance"])
    made["remarks"] = tuple(map(str, made["remarks"]))
    activations = storage.unpack_maps(tensors)
    view, columns = tensors.get("view"), tensors.get("columns")
    names = storage.unpack_text(tensors["names"])
    if not isinstance(names, list | None):
        raise TypeError("its names are no list")
    bank = ScoreBank(
        activations=activations,
        live=storage.unpack_channels(tensors["live"], len(activations)),
        asked=storage.unpack_channels(tensors["asked"], len(activations)),
        scores=storage.unpack_scores("scores", tensors),
        image_scores=tensors["image_scores"],
        fill_scores=tensors["fill_scores"],
        size=tuple(int(pixels) for pixels in record["size"]),
        masking=Masking(**masking),
        head=record["head"],
        names=None if names is None else tuple(map(str, names)),
        layer=str(record["layer"]),
        provenance=Provenance(**made),
        view=None if view is None else view.numpy().tobytes(),
        columns=None if columns is None else columns.long(),
    )
    if not _fits(bank):
        raise ValueError("its tensors do not fit together")
    return bank


def _fits(bank: ScoreBank) -> bool:
    """Whether the parts of a bank from a file belong together."""
    s, width = bank.scores.shape
    n = len(bank.image_scores)
    kept = torch.arange(n) if bank.columns is None else bank.columns
    rest = int(bank.columns is not None and bank.head == "logits")
    return (
        bank.image_scores.dtype == bank.fill_scores.dtype == torch.float32
        and bank.activations.ndim == len(bank.size) + 1
        and min(bank.activations.shape) > 0
        and min(bank.size) > 0
        and math.prod(bank.size) <= MAX_PIXELS
        and bool(bank.image_scores.isfinite().all())
        and _same_types(bank.provenance)
        and _fits_view(bank)
        and bool(torch.isin(bank.asked, bank.live).all())
        and s == len(bank.asked)
        and width == len(kept) + rest
        and 0 < len(kept.unique()) == len(kept)
        and 0 <= int(kept.min()) <= int(kept.max()) < n
        and bank.image_scores.shape == bank.fill_scores.shape == (n,)
        and (bank.names is None or len(bank.names) == n)
    )
