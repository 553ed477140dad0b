"""The score bank: everything the model was asked about one image.

Masked passes are dear, and their answers hold more than one heatmap: every class, every variant
and every contrast can be read from them later, without the model.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import math
import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, get_args

import safetensors
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from scorecam import cam
from scorecam.cam import Answers, Masking, Variant, find_variant
from scorecam.errors import BankError
from scorecam.files import replacing
from scorecam.model import Head, Target, find_target
from scorecam.photo import MAX_PIXELS
from scorecam.shapes import Activations, Columns, Heatmap, Scores, Weights

SCHEMA = 1


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
            masked image, and what it took to tell the head. The one-off look for a default layer
            is not counted.
        batch_size: images per pass, after any halving.
        seconds: wall time; a batch's is shared out evenly.
        budget: which masks were asked about.
        runtime: what ran the model.
    """

    model: str
    device: str
    precision: str
    forward_passes: int
    batch_size: int
    seconds: float
    budget: str = "exact"
    runtime: str = "eager"
    scorecam: str = field(default_factory=lambda: _installed("scorecam"))
    torch: str = field(default_factory=lambda: str(torch.__version__))
    python: str = field(default_factory=platform.python_version)


@dataclass(frozen=True, eq=False)
class ScoreBank:
    """Everything the model was asked about one image, and what it answered.

    Args:
        activations: A, `k *g` float32, raw.
        asked: the channels whose masks were put to the model, `s` int64.
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
    """

    activations: Activations
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

    def target(self, target: int | str | None = None) -> Target:
        """The column meant by an index, a name, or None for the prediction.

        Raises:
            TargetError: there is no such column.
        """
        return find_target(target, self.image_scores, self.names, self.head)

    @property
    def answered(self) -> Tensor:
        """Which of the asked masks got finite answers, `s` bool; the others are left out."""
        return self.scores.isfinite().all(dim=1)

    def weights(
        self, target: int | str | None = None, variant: str | Variant = "official"
    ) -> Weights:
        """α for one target, `k` float32; zero for channels without a mask or an answer."""
        index = self.target(target).index
        ok = self.answered
        weights = self.activations.new_zeros(len(self.activations))
        if ok.any():
            answers = Answers(self.scores[ok], self.fill_scores, self.head)
            found = find_variant(variant).weights(answers, index)
            # What the model says of the empty image may not be finite.
            weights[self.asked[ok]] = found.nan_to_num(0.0, 0.0, 0.0)
        return weights

    def heatmap(
        self, target: int | str | None = None, variant: str | Variant = "official"
    ) -> Heatmap:
        """The heatmap of one target: `*i` float32, at least 0, not scaled.

        Raises:
            TargetError: there is no such column.
            SettingError: there is no such variant.
        """
        return self._map(self.weights(target, variant))

    def contrast(
        self, target: int | str, other: int | str, variant: str | Variant = "official"
    ) -> Heatmap:
        """What speaks for `target` rather than `other`: the heatmap of α(target) − α(other)."""
        return self._map(self.weights(target, variant) - self.weights(other, variant))

    def _map(self, weights: Weights) -> Heatmap:
        # Only asked channels enter: those left out may hold NaN, and 0 · NaN is NaN.
        return cam.heatmap(self.activations[self.asked], weights[self.asked], self.size)

    def picture(self) -> Image.Image | None:
        """What the model saw, RGB, where a photo was given."""
        if self.view is None:
            return None
        with Image.open(io.BytesIO(self.view)) as picture:
            return picture.convert("RGB")

    # ── file ─────────────────────────────────────────────────────────────────────────────────

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bank to one safetensors file; a file of that name is replaced.

        Raises:
            OutputError: it cannot be written.
        """
        tensors = {name: getattr(self, name).cpu().contiguous() for name in TENSORS}
        if self.view is not None:
            tensors["view"] = torch.frombuffer(bytearray(self.view), dtype=torch.uint8)
        record = {
            "schema": SCHEMA,
            "size": self.size,
            "masking": dataclasses.asdict(self.masking),
            "head": self.head,
            "names": self.names,
            "layer": self.layer,
            "provenance": dataclasses.asdict(self.provenance),
        }
        with replacing(path) as temporary:
            try:
                safetensors.torch.save_file(tensors, temporary, {"scorecam": json.dumps(record)})
            except safetensors.SafetensorError as error:  # its word for a full disk, among others
                raise OSError(str(error)) from error

    @staticmethod
    def load(path: str | os.PathLike[str]) -> ScoreBank:
        """Read a bank that `save` wrote.

        Raises:
            BankError: the file is missing, damaged, or not a bank of this version.
        """
        try:
            with safetensors.safe_open(path, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
                record = json.loads((file.metadata() or {}).get("scorecam", "null"))
                tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except FileNotFoundError as error:
            raise BankError(f"There is no file {path}.", do="Check the path.") from error
        except (safetensors.SafetensorError, OSError, ValueError, RecursionError) as error:
            raise BankError(
                f"{path} cannot be read as a score bank: {error}.",
                likely="It may be cut short, or another kind of file.",
                do="Give a .safetensors file that `scorecam explain` or ScoreBank.save wrote.",
            ) from error
        try:
            return _from_record(record, tensors)
        except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise BankError(
                f"{path} is not a score bank that this version can read ({error}).",
                likely="It may hold a model's weights, or come from another version.",
                do="Give a .safetensors file that `scorecam explain` or ScoreBank.save wrote.",
            ) from error


TENSORS = {
    "activations": torch.float32,
    "asked": torch.int64,
    "scores": torch.float32,
    "image_scores": torch.float32,
    "fill_scores": torch.float32,
}
"""The tensors of a bank in its file."""


def _same_types(provenance: Provenance) -> bool:
    """Whether every entry is of the type that it is declared with."""
    kinds = {"int": int, "float": (int, float), "str": str}
    return all(
        isinstance(getattr(provenance, entry.name), kinds[str(entry.type)])
        for entry in dataclasses.fields(provenance)
    )


def _fits_view(bank: ScoreBank) -> bool:
    """Whether the picture of what the model saw, if there is one, has the size of its input."""
    try:
        picture = bank.picture()
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError("its picture cannot be decoded") from error
    return picture is None or picture.size[::-1] == bank.size


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
    view = tensors.get("view")
    bank = ScoreBank(
        **{name: tensors[name] for name in TENSORS},
        size=tuple(int(pixels) for pixels in record["size"]),
        masking=Masking(**masking),
        head=record["head"],
        names=None if record["names"] is None else tuple(map(str, record["names"])),
        layer=str(record["layer"]),
        provenance=Provenance(**record["provenance"]),
        view=None if view is None else view.numpy().tobytes(),
    )
    k, (s, n) = len(bank.activations), bank.scores.shape
    fits = (
        all(tensors[name].dtype == dtype for name, dtype in TENSORS.items())
        and bank.activations.ndim == len(bank.size) + 1
        and min(bank.activations.shape) > 0
        and min(bank.size) > 0
        and math.prod(bank.size) <= MAX_PIXELS
        and n > 0
        and bool(bank.image_scores.isfinite().all())
        and _same_types(bank.provenance)
        and _fits_view(bank)
        and bank.asked.shape == bank.asked.unique().shape == (s,)
        and bank.image_scores.shape == bank.fill_scores.shape == (n,)
        and (s == 0 or (int(bank.asked.min()) >= 0 and int(bank.asked.max()) < k))
        and (bank.names is None or len(bank.names) == n)
    )
    if not fits:
        raise ValueError("its tensors do not fit together")
    return bank
