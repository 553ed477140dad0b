"""Save a network that computes a heatmap itself, in the same pass as the scores."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from scorecam import cam
from scorecam.backends import opening
from scorecam.backends.branches.finding import check_file, site_of
from scorecam.backends.branches.site import MAP, Built, Site
from scorecam.backends.branches.weights import BranchWeights, Overlap, branch_map
from scorecam.backends.file_words import NETWORK_SUFFIX
from scorecam.base.wording import excerpt, summary
from scorecam.budget.plan import BudgetSpec
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset, Sample
from scorecam.datasets.selection import select
from scorecam.errors import DatasetError, ModelError, OutputError, PhotoError, SettingError
from scorecam.explainer import explain
from scorecam.explanation.explanation import Explanation
from scorecam.io.arguments import flag
from scorecam.io.arguments import path as as_path
from scorecam.io.files import replacing
from scorecam.model.inputs import one_image
from scorecam.model.model import Model
from scorecam.runs.map_branch.fidelity import Fidelity, fidelity, likeness
from scorecam.runs.map_branch.fit import Fit
from scorecam.runs.start import first_image
from scorecam.settings import Settings
from scorecam.shapes import Image, Images

FEWEST: Final = 12
"""Photos that a fit needs: two thirds of them are fitted, and the others measure the result."""

HELD_OUT: Final = 3
"""If weights are fitted, every third photo is held out."""

MOST_CHANNELS: Final = 8192
"""The regression needs a matrix of this size squared: 512 MiB."""

CHANGE: Final = {"float16": 1e-3}
"""The largest allowed change of the scores, by the network's precision. Runtimes may combine
float16 operations differently if there are more outputs."""

SAME: Final = 1e-5
"""The largest allowed change for other precisions."""

MOST_ERROR: Final = 1e-3
"""The largest allowed difference between the map in the graph and in PyTorch."""


@dataclass(frozen=True)
class MapExport:
    """A file with a network that computes a heatmap itself.

    Args:
        path: the file.
        method: how the heatmap is made: "class", "overlap" or "fitted overlap".
        formula: of its weights.
        layer: the layer of its activations.
        grid: of the heatmap.
        fidelity: how close the heatmap is to Score-CAM's; None if no photos were given.
        fitted: the number of photos that the weights were fitted to.
        failures: for each photo that could not be used, why.
    """

    path: Path
    method: str
    formula: str
    layer: str
    grid: tuple[int, ...]
    fidelity: Fidelity | None
    fitted: int
    failures: dict[str, str]

    @summary
    def __repr__(self) -> Iterator[str]:
        yield excerpt(self.path, 200)
        yield f"{self.method}, layer {excerpt(self.layer, 60)}"
        yield "not measured" if self.fidelity is None else f"Pearson {self.fidelity.mean:.3f}"


def export_with_map(
    model: Model | nn.Module | str,
    photos: Dataset | str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str],
    layer: str | None = None,
    limit: int | None = None,
    budget: BudgetSpec = "fast",
    force: bool = False,
) -> MapExport:
    """Save an ONNX file's network with one more output, a heatmap, computed in the same pass.

    The new output `map` is a weighted sum of one layer's activations, `b *g` on the layer's grid,
    scaled to [0, 1]. It explains the class with the highest score. It is not Score-CAM, which needs
    many passes: with photos, its correlation with Score-CAM's maps is measured and saved in the
    file's metadata.

    The activations are weighted by the last layer's weights of the class, if the network ends in
    their mean and one linear layer. Otherwise, they are weighted by the overlap of each mask with a
    first map, which is fitted to Score-CAM's maps if photos are given (see
    docs/map-in-the-graph.md).

    Args:
        model: an ONNX file, or one opened with `open_model`, which is needed for photos. The file
            is not changed.
        photos: a data set, to fit and to measure; labels are not used.
        out: the new file.
        layer: by name; None for the default.
        limit: use at most this many photos, chosen at random.
        budget: how many masks Score-CAM scores for each photo.
        force: overwrite an existing file.

    Raises:
        ModelError: the model is no ONNX file, or its graph cannot have the branch.
        LayerError: there is no such layer, or none with a grid.
        DatasetError: there are too few photos.
        SettingError: another argument is invalid.
        OutputError: the file exists or cannot be written.
    """
    path = _new_path(out, force=flag("force", force))
    opened = _opened(model)
    _check_classes(opened)
    check_file(opened)
    settings = Settings(budget=budget)
    if photos is None:
        images, opened = one_image(_noise(opened), opened)
        site = site_of(opened, images, layer)
        weights = site.last_layer or Overlap(np.ones(site.channels, np.float32))
        built = _checked(site, weights, images, opened.precision)
        return _saved(path, opened, built, Measured(site, weights))
    samples = _samples(photos, limit)
    image, layer, form = first_image(opened, samples, layer)
    opened = opened.with_form(form)
    site = site_of(opened, image[None], layer)
    work = Work(opened, site, settings)
    held_out = list(samples.samples)
    weights = site.last_layer
    if weights is None:
        weights, held_out = work.fitted(held_out)
    built = _checked(site, weights, image[None], opened.precision)
    return _saved(path, opened, built, work.measured(built, weights, held_out))


@dataclass(frozen=True)
class Measured:
    """What is known about a branch.

    Args:
        site: of the branch.
        weights: of the branch.
        fidelity: how close it is to Score-CAM; None if that was not measured.
        fitted: the number of photos of the fit.
        failures: the photos that could not be used.
    """

    site: Site
    weights: BranchWeights
    fidelity: Fidelity | None = None
    fitted: int = 0
    failures: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(eq=False)
class Work:
    """Explains photos to fit and to measure a branch.

    Args:
        model: the network.
        site: of the branch.
        settings: of Score-CAM.
        photos: the number of photos that weights were fitted to.
        failures: for each photo that could not be used, why.
    """

    model: Model
    site: Site
    settings: Settings
    photos: int = 0
    failures: dict[str, str] = field(default_factory=dict[str, str])

    def fitted(self, samples: Sequence[Sample]) -> tuple[BranchWeights, list[Sample]]:
        """The weights fitted to some photos, and the photos that are held out.

        Raises:
            DatasetError: there are too few photos.
        """
        if len(samples) < FEWEST:
            raise DatasetError(
                f"{len(samples)} photos are too few to fit a heatmap: {FEWEST} are needed.",
                likely="The network does not end in a mean and one linear layer, so the weights "
                "have to be fitted.",
                do="Give more photos (30 to 200), or none: then nothing is fitted or measured.",
            )
        if self.site.channels > MOST_CHANNELS:
            return Overlap(np.ones(self.site.channels, np.float32)), list(samples)
        fit = Fit.of(self.site.channels)
        for explanation in self._explained(
            [sample for i, sample in enumerate(samples) if i % HELD_OUT != HELD_OUT - 1]
        ):
            bank = explanation[1].bank
            fit.add(bank.activations, cam.weighted_sum(bank.activations, bank.weights()))
        self.photos = fit.photos
        return fit.weights(), list(samples[HELD_OUT - 1 :: HELD_OUT])

    def measured(self, built: Built, weights: BranchWeights, samples: Sequence[Sample]) -> Measured:
        """The fidelity of a branch on photos.

        Raises:
            DatasetError: no photo could be used.
        """
        values: list[float] = []
        variant = ""
        for image, explanation in self._explained(samples):
            grid = built.run(image[None])[0]
            values.append(likeness(grid, explanation.heatmap))
            variant = explanation.variant.name
        found = fidelity(values, variant)
        if found is None:
            first = next(iter(self.failures.values()), "All maps are constant.")
            raise DatasetError(
                f"No photo could be used to measure the heatmap. {first}",
                do="Give other photos.",
            )
        fitted = self.photos if isinstance(weights, Overlap) and weights.fitted else 0
        return Measured(self.site, weights, found, fitted, failures=self.failures)

    def _explained(self, samples: Sequence[Sample]) -> Iterator[tuple[Image, Explanation]]:
        """Explanations of the predicted classes; photos that fail are recorded."""
        for sample in samples:
            try:
                if sample.failure is not None:
                    raise sample.failure
                image = self.model.read(sample.path).image
                yield (
                    image,
                    explain(self.model, image, layer=self.site.layer, budget=self.settings.budget),
                )
            except (PhotoError, DatasetError) as error:
                self.failures[sample.name] = str(error)


def _new_path(out: str | os.PathLike[str], *, force: bool) -> Path:
    """The path of the new file.

    Raises:
        OutputError: it exists, is a folder, or has the suffix of another format.
    """
    path = Path(as_path("out", out, OutputError))
    if path.suffix.lower() != NETWORK_SUFFIX and not path.is_dir():
        raise OutputError(
            f"{excerpt(path, 200)} does not end in {NETWORK_SUFFIX}.",
            likely="The new file has the format of the network.",
            do=f"Give --out (out=) a name that ends in {NETWORK_SUFFIX}.",
        )
    if path.is_dir():
        raise OutputError(
            f"{excerpt(path, 200)} is a folder.", do="Give --out (out=) the name of a new file."
        )
    if os.path.lexists(path) and not force:
        raise OutputError(
            f"{excerpt(path, 200)} already exists.",
            do="Use --force (force=True) to overwrite it, or another name with --out (out=).",
        )
    return path


def _check_classes(model: Model) -> None:
    if model.task is not None:
        raise SettingError(
            f"The new output explains classes, and the model has the task {model.task.name}.",
            do="Open the model without task= (--task).",
        )


def _opened(model: Model | nn.Module | str) -> Model:
    """The model. A name of a file is opened without preprocessing."""
    return opening.open_model(model) if isinstance(model, str) else opening.as_model(model)


def _noise(model: Model) -> Image:
    """An input of random numbers, to follow the network.

    Raises:
        SettingError: the size of the input is not known, or there are several inputs.
    """
    blank = model.blank()
    if isinstance(blank, Tensor):
        size = blank.shape[1:]
    elif blank is not None:
        raise SettingError(
            f"The network takes {len(blank)} inputs, so no heatmap can be added to its graph.",
            likely="A heatmap explains one image.",
            do="Give a network with one input.",
        )
    elif model.preprocess is not None:
        size = len(model.preprocess.mean), *model.preprocess.size
    else:
        raise SettingError(
            "The size of the network's input is not known.",
            likely="The file takes images of any size.",
            do="Give the preprocessing: preprocess= of open_model (--preprocess).",
        )
    return torch.randn(size, generator=torch.Generator("cpu").manual_seed(0), device="cpu")


def _samples(photos: Dataset | str | os.PathLike[str], limit: int | None) -> Dataset:
    opened = photos if isinstance(photos, Dataset) else open_dataset(as_path("photos", photos))
    return select(opened, limit=limit)


def _checked(site: Site, weights: BranchWeights, images: Images, precision: str) -> Built:
    """The network with the branch.

    Raises:
        ModelError: its other outputs change, or its heatmap is another than in PyTorch.
    """
    built = site.built(weights)
    changed = built.changed(images)
    activations, scores = site.activations(images)
    expected = branch_map(weights, activations[0], scores[0])
    error = float((built.run(images)[0] - expected).abs().max())
    if not (changed <= CHANGE.get(precision, SAME) and error <= MOST_ERROR):
        raise ModelError(
            f"The network with a heatmap does not compute what it should: its outputs differ by "
            f"{changed:.2g} of their largest number, and the heatmap by {error:.2g}.",
            likely="The runtime combines operations in another way, or the layer's maps have an "
            "unusual order.",
            do="Choose another layer with --layer (layer=).",
        )
    return built


def _saved(path: Path, model: Model, built: Built, measured: Measured) -> MapExport:
    """Write the file, and check that the source was not overwritten."""
    site, weights = measured.site, measured.weights
    if path.exists() and path.resolve() == site.source.resolve():
        raise OutputError(
            f"{excerpt(path, 200)} is the file of the network itself, which is never changed.",
            do="Give another name with --out (out=).",
        )
    with replacing(path) as temporary:
        built.write(temporary, metadata(model, measured))
    return MapExport(
        path=path,
        method=weights.name,
        formula=weights.formula,
        layer=site.layer,
        grid=site.grid,
        fidelity=measured.fidelity,
        fitted=measured.fitted,
        failures=measured.failures,
    )


def metadata(model: Model, measured: Measured) -> dict[str, str]:
    """The texts in the file that say what the heatmap is."""
    found = measured.fidelity
    texts = {
        "method": measured.weights.name,
        "formula": measured.weights.formula,
        "layer": measured.site.layer,
        "photos": f"{measured.fitted} fitted, {found.photos if found else 0} held out",
        "fidelity": found.sentence if found else "not measured: no photos were given",
        "source sha256": model.fingerprint(),
        "scorecam": importlib.metadata.version("scorecam"),
    }
    if found:
        numbers = {"mean": found.mean, "p5": found.low, "worst": found.worst}
        texts |= {f"fidelity.{name}": f"{value:.4f}" for name, value in numbers.items()}
    return {f"scorecam.{MAP}.{name}": text for name, text in texts.items()}
