"""The result: one heatmap, what it was made from, how far to trust it, and its picture."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from PIL import Image

from scorecam import cam, shapes
from scorecam.bank import health
from scorecam.bank.bank import Provenance, ScoreBank
from scorecam.bank.class_free import class_free
from scorecam.bank.health import Note
from scorecam.base.cached_property import cached_property
from scorecam.base.wording import excerpt, quoted, summary
from scorecam.cam import Variant
from scorecam.errors import PhotoError, SettingError
from scorecam.explanation.words import words_for
from scorecam.images.preprocessing import Preprocessing
from scorecam.io.arguments import instance, tensor
from scorecam.io.arguments import path as as_path
from scorecam.io.files import write_text
from scorecam.io.ranges import COUNT, INTEGER
from scorecam.model.target import Target
from scorecam.model.task_columns import TaskColumns
from scorecam.shapes import Heatmap

if TYPE_CHECKING:
    from scorecam.explanation.explained import Explained
    from scorecam.images.pictures import Spacing
    from scorecam.images.region import Region  # draws outlines, with what that needs


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a model gave one image this score for one target: read from the bank, without a model.

    Args:
        bank: the scores of the masked images.
        target: the explained column.
        variant: how scores become weights.
        image: the model's input, `c *i`; None if it is not known.
        photo: the user's, RGB and upright; None for a tensor, or if the input's place is unknown.
        preprocess: how the photo became the model's input.
        form: how the model takes the image, if not as `c *i`; see `Model.with_form`.
        task_columns: the columns that the model's task found; see `Model.with_columns`.
        spacing: the distance of two values along each axis, where it is known.
    """

    bank: ScoreBank
    target: Target
    variant: Variant
    image: shapes.Image | None = None
    photo: Image.Image | None = None
    preprocess: Preprocessing | None = None
    form: object = None
    task_columns: TaskColumns | None = None
    spacing: Spacing = None

    @summary
    def __repr__(self) -> Iterator[str]:
        yield self.target.title
        yield excerpt(self.variant.name, 60)
        yield from self.bank.in_short()
        if self.photo is not None:
            yield f"photo {self.photo.width}×{self.photo.height}"

    @cached_property
    def heatmap(self) -> Heatmap:
        """ReLU(Σ α_k A_k) in the model's input pixels: `*i` float32, at least 0, not scaled."""
        return self.bank.heatmap(self.target.index, self.variant)

    @cached_property
    def scaled(self) -> Heatmap:
        """The heatmap min-max scaled to [0, 1]; zeros, with a note, if it is constant."""
        return cam.scaled(self.heatmap)

    @property
    def layer(self) -> str:
        """The explained layer's name."""
        return self.bank.layer

    @property
    def formula(self) -> str:
        """The formula of the heatmap, in one line."""
        return self.variant.formula_for(self.bank.head)

    @cached_property
    def region(self) -> Region | None:
        """Where the target's answer is in the model's input; None if it has no place.

        A mask of booleans, `*i`, or else a box: the first corner, then the last, x first.
        """
        bank, index = self.bank, self.target.index
        if bank.masks is not None and bank.masks[index].any():
            return bank.masks[index]
        if bank.boxes is None or not bank.boxes[index].isfinite().all():
            return None
        return tuple(bank.boxes[index].tolist())

    @property
    def provenance(self) -> Provenance:
        """How the scores were computed."""
        return self.bank.provenance

    @cached_property
    def error(self) -> float:
        """Estimated largest absolute error of `scaled`, in [0, 1].

        0 if every mask was scored. With a reduced budget, it is larger for targets and variants
        that the masks were not selected for.
        """
        return self.bank.error(self.target.index, self.variant)

    @cached_property
    def health(self) -> tuple[Note, ...]:
        """Warnings about this heatmap, from the bank alone; often empty."""
        return health.notes(self.bank, self.target, self.variant, self.heatmap)

    @cached_property
    def class_free(self) -> float | None:
        """The share of this heatmap that is the same for every class, in [0, 1].

        It is the variance that the plain mean of the activations explains: r². None if the heatmap
        or that mean is constant.
        """
        return class_free(self.bank, self.target.index, self.variant)

    def of(
        self, target: int | str | None = None, variant: str | Variant | None = None
    ) -> Explanation:
        """The explanation of another target or variant of the same image; no model runs.

        Args:
            target: an index or a class name; None for this explanation's.
            variant: its name, a `Variant` or "auto"; None for this explanation's.

        Raises:
            TargetError: there is no such column.
            SettingError: there is no such variant.
        """
        chosen_target = self.target if target is None else self.bank.target(target)
        chosen_variant = self.variant if variant is None else self.bank.variant(variant)
        return replace(self, target=chosen_target, variant=chosen_variant)

    def top(self, count: int = 5) -> list[Explanation]:
        """The explanations of the `count` largest scores, largest first; no model runs."""
        count = INTEGER.check("count", count)
        if count < 1:
            raise SettingError(
                f"top({count}) returns no class.", do="Give a count of at least one."
            )
        columns = self.bank.image_scores
        indices = columns.topk(min(count, len(columns))).indices
        return [self.of(int(index)) for index in indices]

    def on_photo(self) -> Heatmap:
        """The heatmap in the photo's own pixels: `h w` float32, 0 outside the model's crop.

        Raises:
            PhotoError: a tensor was explained, or the input's place in the photo is unknown.
        """
        if self.photo is None or self.preprocess is None:
            raise PhotoError(
                "There is no photo to show the heatmap on.",
                likely="A tensor was explained, or the input's place in the photo is unknown.",
                do="Explain a file or a PIL image, or use `heatmap`.",
            )
        return self.preprocess.to_photo(self.heatmap, self.photo.size)

    def overlay(self, *, spacing: Spacing = None) -> Image.Image:
        """The heatmap drawn on the photo, with the model's crop outlined, and a legend.

        The box or the region of the target is outlined too, in blue. Without a photo, the heatmap
        is drawn on the model's input if that is known, and on grey otherwise: a signal as lines, a
        volume as slices, and a video as a strip of frames.

        Args:
            spacing: seconds between the values of a signal, `[0.004]`, or the sizes of a voxel, for
                the ticks and the aspect ratio; None for those that the file states.

        Raises:
            PhotoError: the image has more than three axes.
            SettingError: the spacing does not suit the input.
        """
        from scorecam.explanation import drawing

        return drawing.one_map(cast("Explained", self), spacing)

    def side_by_side(self, maps: Mapping[str, Heatmap], columns: int = 4) -> Image.Image:
        """The photo and several methods' heatmaps of this target, each with its name.

        Args:
            maps: names and heatmaps, in the model's input pixels, not scaled.
            columns: pictures per row.

        Raises:
            PhotoError: the image has more than three axes.
        """
        columns = COUNT.check("columns", columns)
        do = "Give a dict from a method's name to its heatmap."
        for name, heatmap in instance("maps", maps, Mapping, do).items():
            if tensor(heatmap, f"The map {quoted(name)}").shape != self.scaled.shape:
                raise SettingError(
                    f"The map {quoted(name)} has the shape {tuple(heatmap.shape)}, not "
                    f"{tuple(self.scaled.shape)}.",
                    do="Give maps in the input's pixels, as Explanation.heatmap is.",
                )
        from scorecam.explanation import drawing

        return drawing.methods(cast("Explained", self), maps, columns)

    def overlays(
        self, targets: Sequence[int | str] | None = None, columns: int | None = None
    ) -> Image.Image:
        """The heatmaps of several targets of this image side by side, such as several boxes.

        Each has its name, its score and its outline. No model runs.

        Args:
            targets: indices or names; None for the 8 with the largest scores, or for the first 48
                tokens of a text in their order.
            columns: pictures per row; None for 4, or 8 for tokens.

        Raises:
            PhotoError: the image has more than three axes.
            TargetError: there is no such column.
            SettingError: there is no target, or no column.
        """
        from scorecam.explanation import drawing
        from scorecam.explanation.choice import chosen_targets

        indices, left_out = chosen_targets(self.bank, targets)
        shown = [cast("Explained", self.of(index)) for index in indices]
        if columns is None:
            columns = 8 if words_for(self.provenance.task).in_order else 4
        return drawing.targets(shown, COUNT.check("columns", columns), left_out)

    def pair(self, other: Explanation) -> Image.Image:
        """This heatmap and another's side by side, with one legend.

        For two photos that a model compares (task "similar"), each explained with the other as its
        reference: it shows what makes them alike in both.

        Raises:
            PhotoError: an image has more than three axes.
        """
        from scorecam.explanation import drawing

        do = "Explain the other photo with this one as its reference."
        instance("other", other, Explanation, do)
        return drawing.pair(cast("Explained", self), cast("Explained", other))

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """One self-contained HTML page of this explanation, also written to `path` if given.

        It shows the target and the largest other classes, boxes or tokens (5 in all) in every
        variant, the contrast with the largest other one, the 8 channels with the largest weights,
        and the warnings. Boxes and regions are outlined. Of an input that is not two-dimensional,
        it shows the overlays and the warnings.
        The page makes no requests.

        Raises:
            PhotoError: the image has more than three axes.
            MissingExtra: jinja2 is not installed.
            OutputError: the file cannot be written.
        """
        from scorecam import page
        from scorecam.explanation.on_page import page_of

        text = page.html(page_of(cast("Explained", self)))
        if path is not None:
            write_text(as_path("path", path), text)
        return text
