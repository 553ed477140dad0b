"""One photo: every method's heatmap, and what every measure says of it.

`work` is a function of its arguments alone. Whoever schedules photos, one process or a cluster,
calls it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from scorecam.asking import BatchSize, Scorer
from scorecam.bank import ScoreBank
from scorecam.budget import BudgetSpec
from scorecam.cam import Masking
from scorecam.datasets.photos import shown
from scorecam.datasets.sample import Label, Sample
from scorecam.datasets.selection import share
from scorecam.errors import MissingExtra, ModelError, ScorecamError
from scorecam.explainer import ScoreCAM
from scorecam.method import Case, Method
from scorecam.metrics import Metric, Seen, Truth
from scorecam.model import Model, Speed, probabilities
from scorecam.photo import read_photo
from scorecam.pixels import Preprocess
from scorecam.runs.config import SCHEMA
from scorecam.runs.store import Record
from scorecam.shapes import Heatmap, Image

SMALL_MASK, SMALL_BOX = 0.11, 0.25
"""An object is small where its mask, or else its boxes, cover at most this much of the photo."""

Float16 = npt.NDArray[np.float16]


@dataclass(frozen=True)
class Setup:
    """How photos are explained and judged.

    Args:
        model: what is explained.
        layer: by name.
        methods, metrics: which.
        columns: the model's column of each class of the data set.
        target: what is explained: the labelled class where it is known, or the predicted one.
        speed: what runs the model; no "auto", so that every photo gets the same.
        budget, tolerance: which masks Score-CAM asks about.
        masking: how activations become masks, and what an empty image is.
        batch_size: images per pass.
        seed: for methods that draw.
        fill: what a muted pixel shows in the measures: "run": as in Score-CAM's masking; "black".
    """

    model: Model
    layer: str
    methods: tuple[Method, ...]
    metrics: tuple[Metric, ...]
    columns: Mapping[Label, int] = field(default_factory=dict[Label, int])
    target: str = "label"
    speed: Speed = field(default_factory=Speed)
    budget: BudgetSpec = "exact"
    tolerance: float | None = None
    masking: Masking = field(default_factory=Masking)
    batch_size: BatchSize = "auto"
    seed: int = 0
    fill: str = "run"

    @property
    def exact(self) -> bool:
        """Whether every mask is asked about, so that all variants read one bank."""
        return self.budget == "exact" and self.tolerance is None

    def canvas(self, image: Image) -> Image:
        """The empty image of the measures."""
        if self.fill == "run" or self.model.preprocess is None:
            return self.masking.fill_like(image)
        return self.model.preprocess.black().to(image).expand_as(image)


@dataclass(frozen=True, eq=False)
class Done:
    """What came of one photo and method.

    Args:
        record: plain values.
        grid: the heatmap on the layer's grid, its maximum 1; None after a failure.
    """

    record: Record
    grid: Float16 | None = None


def work(
    sample: Sample,
    setup: Setup,
    methods: Sequence[Method],
    keep: Callable[[ScoreBank, int], None] | None = None,
) -> Iterator[Done]:
    """Explain and judge one photo by some of the methods, one after the other.

    A photo that cannot be read, a network that fails on it, an annotation that makes no sense: all
    are results, said in the record.

    Args:
        keep: is given the bank and the target, where a method asked for it, before the first
            result that rests on it: whoever has the record has the bank.

    Raises:
        MissingExtra: a method's library is not installed: no photo's fault.
    """
    try:
        subject = _look(sample, setup)
    except MissingExtra:
        raise
    except ScorecamError as error:
        for method in methods:
            yield Done(_failure(sample, method, error))
        return
    # With a reduced budget there is a bank for each variant; the first method's is kept.
    kept = _aim(setup, setup.methods[0])
    for method in methods:
        began = time.perf_counter()
        asked = subject.passes
        try:
            done = _judged(subject, setup, method, began, asked)
        except MissingExtra:
            raise
        except ScorecamError as error:
            record = _failure(sample, method, error)
            record["timings"] = {"seconds": time.perf_counter() - began}
            done = Done(record)
        if keep is not None and (bank := subject.banks.get(kept)) is not None:
            keep(bank, subject.target)
            keep = None
        yield done


# ── one photo ────────────────────────────────────────────────────────────────────────────────


@dataclass(eq=False)
class _Subject:
    """A photo as the model sees it, and what is known of it.

    Attributes:
        banks: what was asked about it so far, by the variant that a reduced budget aims at.
    """

    sample: Sample
    image: Image
    scorer: Scorer
    target: int
    predicted: int
    labelled: int | None
    truth: Truth
    share: float | None
    group: str | None
    banks: dict[str, ScoreBank] = field(default_factory=dict[str, ScoreBank])

    @property
    def passes(self) -> int:
        """Images put to the model so far, but for what methods do on their own."""
        return self.scorer.asked + sum(
            bank.provenance.forward_passes for bank in self.banks.values()
        )


def _look(sample: Sample, setup: Setup) -> _Subject:
    if sample.failure is not None:
        raise sample.failure
    preprocess = setup.model.preprocess
    if preprocess is None:
        raise ModelError(
            "How a photo becomes this model's input is not known.",
            do="Give preprocess= (--preprocess).",
        )
    photo = read_photo(sample.path)
    image = preprocess(photo).to(setup.model.device)
    scorer = Scorer(
        setup.model,
        image,
        fill=setup.masking.fill_like(image),
        speed=setup.speed,
        batch_size=setup.batch_size,
    )
    if not scorer.columns.isfinite().all():
        raise ModelError("The model answers this photo with NaN or infinity.")
    predicted = int(scorer.columns.argmax())
    own = None if sample.label is None else setup.columns.get(sample.label)
    target = own if setup.target == "label" and own is not None else predicted
    truth, covered, group = _truth(sample, preprocess, photo.size, explained=target == own)
    if own is None:
        truth = Truth(why="The photo's class is not known, or is none of the model's.")
    return _Subject(sample, image, scorer, target, predicted, own, truth, covered, group)


def _truth(
    sample: Sample, preprocess: Preprocess, size: tuple[int, int], *, explained: bool
) -> tuple[Truth, float | None, str | None]:
    """Where the object is in the input, its share of the photo, and whether that is small.

    Args:
        size: of the photo, (width, height).
        explained: whether the labelled class is the one that is explained.
    """
    mask = None if sample.mask is None else sample.mask()
    boxes = sample.boxes(sample.label)
    covered = group = None
    if mask is not None:
        covered = float(mask.mean())
    elif boxes:
        covered = share(boxes, size)
    if covered is not None:
        group = "small" if covered <= (SMALL_BOX if mask is None else SMALL_MASK) else "large"
    if not explained:
        return Truth(why="The explained class is not the labelled one."), covered, group
    truth = Truth(
        preprocess.boxes_to_input(torch.tensor(boxes), size) if boxes else None,
        None if mask is None else preprocess.mask_to_input(mask),
        "No box of this class." if boxes == [] else "The data set says not where the object is.",
    )
    return truth, covered, group


def _aim(setup: Setup, method: Method) -> str:
    """The variant whose map a method's bank is asked for."""
    return "official" if setup.exact else str(method.settings.get("variant", "official"))


def _case(subject: _Subject, setup: Setup, method: Method) -> Case:
    """What a method is given; with a reduced budget each variant has a bank aimed at itself."""
    aim = _aim(setup, method)

    def ask() -> ScoreBank:
        if aim not in subject.banks:
            subject.banks[aim] = _cam(setup, aim).bank(subject.image, subject.target)
        return subject.banks[aim]

    return Case(
        setup.model,
        subject.image,
        subject.target,
        setup.layer,
        ask=ask,
        listen=lambda: subject.scorer,
        seed=setup.seed,
        name=subject.sample.name,
    )


def _cam(setup: Setup, variant: str) -> ScoreCAM:
    return ScoreCAM(
        setup.model,
        setup.layer,
        variant,
        budget=setup.budget,
        tolerance=setup.tolerance,
        precision=setup.speed.precision,
        runtime=setup.speed.runtime,
        masking=setup.masking,
        batch_size=setup.batch_size,
        seed=setup.seed,
    )


def _another(subject: _Subject, setup: Setup, method: Method) -> Callable[[Image], Heatmap]:
    """The same method's heatmap of another image for the same column."""

    def explain(image: Image) -> Heatmap:
        aim = str(method.settings.get("variant", "official"))
        return method.heatmap(
            Case(
                setup.model,
                image,
                subject.target,
                setup.layer,
                ask=lambda: _cam(setup, aim).bank(image, subject.target),
                listen=lambda: Scorer(
                    setup.model,
                    image,
                    head=subject.scorer.head,
                    speed=setup.speed,
                    batch_size=setup.batch_size,
                ),
                seed=setup.seed,
            )
        )

    return explain


def _judged(subject: _Subject, setup: Setup, method: Method, began: float, asked: int) -> Done:
    case = _case(subject, setup, method)
    heatmap = method.heatmap(case)
    if not heatmap.isfinite().all():
        raise ModelError(f"The map of {method.name} holds NaN or infinity.")
    explained = time.perf_counter()
    seen = Seen(
        heatmap,
        subject.image,
        case.probabilities,
        subject.truth,
        _another(subject, setup, method),
        setup.canvas(subject.image),
    )
    values: dict[str, float] = {}
    undefined: dict[str, str] = {}
    curves: dict[str, list[float]] = {}
    for metric in setup.metrics:
        found = metric.measure(seen)
        for name, value in found.values.items():
            if math.isfinite(value):
                values[name] = value
            else:
                undefined[name] = "The model's answer was not finite."
        undefined |= found.undefined
        curves |= {
            name: [round(p, 6) for p in curve]
            for name, curve in found.curves.items()
            if all(map(math.isfinite, curve))
        }
    grid, top = _small(heatmap, _grid(subject, setup))
    record = _record(subject.sample, method) | {
        "target": _column(subject, subject.target, setup),
        "predicted": _column(subject, subject.predicted, setup),
        "right": None if subject.labelled is None else subject.predicted == subject.labelled,
        "head": subject.scorer.head,
        "share": subject.share,
        "group": subject.group,
        "values": values,
        "undefined": undefined,
        "curves": curves,
        "map": {"grid": list(grid.shape), "maximum": top},
        "timings": {
            "seconds": time.perf_counter() - began,
            "explaining": explained - began,
            "passes": subject.passes - asked,
        },
    }
    return Done(record, grid)


def _grid(subject: _Subject, setup: Setup) -> tuple[int, ...]:
    """The explained layer's grid."""
    for bank in subject.banks.values():
        return tuple(bank.activations.shape[1:])
    maps, _ = setup.model.activations(subject.image[None], setup.layer)
    return tuple(maps.shape[2:])


def _small(heatmap: Heatmap, grid: tuple[int, ...]) -> tuple[Float16, float]:
    """The heatmap averaged over the cells of a grid and divided by its maximum, which comes too."""
    pools = nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d
    pooled: Tensor = pools[len(grid) - 1](grid)(heatmap[None].float())[0]
    top = float(pooled.abs().max())
    scaled = pooled / top if top > 0 else pooled
    return scaled.cpu().numpy().astype(np.float16), top


# ── records ──────────────────────────────────────────────────────────────────────────────────


def _record(sample: Sample, method: Method) -> Record:
    return {
        "schema": SCHEMA,
        "id": sample.id,
        "name": shown(sample.name),
        "label": shown(sample.label) if isinstance(sample.label, str) else sample.label,
        "method": method.name,
    }


def _failure(sample: Sample, method: Method, error: ScorecamError) -> Record:
    return _record(sample, method) | {
        "failure": {"kind": type(error).__name__, "message": shown(str(error))}
    }


def _column(subject: _Subject, index: int, setup: Setup) -> dict[str, Any]:
    """A column of the model as a record."""
    head = subject.scorer.head
    said = probabilities(subject.scorer.columns[None], head)[0]
    names = setup.model.names
    named = names is not None and len(names) == len(said)
    return {
        "index": index,
        "name": names[index] if names is not None and named else None,
        "probability": None if head == "value" else float(said[index]),
    }
