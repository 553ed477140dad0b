"""One photo: the heatmap of every method, and its metrics.

`explain_photo` depends only on its arguments, so any scheduler can call it, in one process or on a
cluster.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from scorecam.bank.bank import ScoreBank
from scorecam.base.wording import encodable
from scorecam.cam import Variant
from scorecam.datasets.sample import Sample
from scorecam.errors import MissingExtra, ModelError, ScorecamError
from scorecam.methods.cases import new_case
from scorecam.methods.method import Case, Method
from scorecam.metrics.metric import Measured, Metric, Seen
from scorecam.model.shortage import memory_errors_translated
from scorecam.model.variants import Auto, name_of
from scorecam.runs.photo import PreparedPhoto, prepare_photo
from scorecam.runs.record import Failure, FailureRecord, ItemRecord, MapInfo, MeasuredRecord
from scorecam.runs.setup import Setup
from scorecam.scoring.banks import make_bank
from scorecam.shapes import Heatmap, Image

Float16 = npt.NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class Done:
    """The result of one photo and one method.

    Args:
        grid: the heatmap on the layer's grid, scaled to a maximum of 1; None after a failure.
    """

    record: ItemRecord
    grid: Float16 | None = None


def explain_photo(
    sample: Sample,
    setup: Setup,
    methods: Sequence[Method],
    keep: Callable[[PreparedPhoto, ScoreBank | None], None] | None = None,
) -> Iterator[Done]:
    """Explain one photo by several methods, and measure every heatmap.

    An unreadable photo, an invalid annotation or a network that fails on the photo gives a record
    of the failure.

    Args:
        keep: called once with the photo and its bank, before the first result that uses the bank;
            without a bank, before the last result.

    Raises:
        MissingExtra: the library of a method is not installed.
    """
    try:
        with memory_errors_translated():
            photo = prepare_photo(sample, setup)
    except MissingExtra:
        raise
    except ScorecamError as error:
        for method in methods:
            yield Done(_failure(sample, method, error))
        return
    # With a reduced budget there is one bank per variant; the first one is kept.
    kept = name_of(setup.bank_variant(setup.bank_method))
    for method in methods:
        began = time.perf_counter()
        try:
            with memory_errors_translated():
                done = _explained(photo, setup, method, began)
        except MissingExtra:
            raise
        except ScorecamError as error:
            done = Done(_failure(sample, method, error, seconds=time.perf_counter() - began))
        bank = photo.banks.get(kept)
        if keep is not None and (bank is not None or method is methods[-1]):
            keep(photo, bank)
            keep = None
        yield done


# ── one photo and one method ─────────────────────────────────────────────────────────────────


def _explained(photo: PreparedPhoto, setup: Setup, method: Method, began: float) -> Done:
    passes = photo.passes
    case = _case(photo, setup, method)
    heatmap = method.heatmap(case)
    _check_finite(heatmap, method)
    explained = time.perf_counter()
    seen = Seen(
        heatmap,
        photo.image,
        case.probabilities,
        truth=photo.answer.truth,
        explain=_explainer(photo, setup, method),
        fill=setup.canvas(photo.image),
    )
    measured = _measured(setup.metrics, seen)
    grid, maximum = _on_grid(heatmap, _layer_grid(photo, setup))
    sample, answer = photo.sample, photo.answer
    record = MeasuredRecord(
        id=sample.id,
        name=encodable(sample.name),
        label=encodable(sample.label) if isinstance(sample.label, str) else sample.label,
        method=method.name,
        target=photo.class_score(photo.target),
        predicted=photo.class_score(answer.predicted),
        right=answer.right,
        head=photo.scorer.head,
        share=photo.share,
        group=photo.group,
        box=photo.box,
        values=measured.values,
        undefined=measured.undefined,
        curves=measured.curves,
        map=MapInfo(grid.shape, maximum),
        timings={
            "seconds": time.perf_counter() - began,
            "explaining": explained - began,
            "passes": photo.passes - passes,
        },
        remarks=[encodable(remark) for remark in photo.remarks],
    )
    return Done(record, grid)


def _check_finite(heatmap: Heatmap, method: Method) -> None:
    if not heatmap.isfinite().all():
        raise ModelError(f"The map of {method.name} contains NaN or infinity.")


def _measured(metrics: Sequence[Metric], seen: Seen) -> Measured:
    """The outcomes of all metrics; those that are not finite are undefined."""
    values: dict[str, float] = {}
    undefined: dict[str, str] = {}
    curves: dict[str, list[float]] = {}
    for metric in metrics:
        measured = metric.measure(seen)
        for name, value in measured.values.items():
            if math.isfinite(value):
                values[name] = value
            else:
                undefined[name] = "The model's score was not finite."
        undefined |= measured.undefined
        curves |= {
            name: [round(p, 6) for p in curve]
            for name, curve in measured.curves.items()
            if all(map(math.isfinite, curve))
        }
    return Measured(values, undefined, curves)


def _case(photo: PreparedPhoto, setup: Setup, method: Method) -> Case:
    """The input of a method; with a reduced budget, each variant has its own bank."""
    variant = setup.bank_variant(method)

    def bank() -> ScoreBank:
        name = name_of(variant)
        if name not in photo.banks:
            photo.banks[name] = _bank(setup, variant, photo)
        return photo.banks[name]

    return Case(
        photo.model,
        photo.image,
        target=photo.target,
        layer=setup.layer,
        make_bank=bank,
        make_scorer=lambda: photo.scorer,
        seed=setup.settings.seed,
        name=photo.sample.name,
    )


def _bank(setup: Setup, variant: Variant | Auto, photo: PreparedPhoto) -> ScoreBank:
    settings = replace(setup.settings, variant=variant)
    return make_bank(photo.model, photo.image, photo.target, layer=setup.layer, settings=settings)


def _explainer(photo: PreparedPhoto, setup: Setup, method: Method) -> Callable[[Image], Heatmap]:
    """Explains the same column of another image by the same method."""

    def explain(image: Image) -> Heatmap:
        settings = setup.settings
        if method.variant is not None:
            settings = replace(settings, variant=method.variant)
        case = new_case(
            photo.model,
            image,
            photo.target,
            layer=setup.layer,
            settings=settings,
            head=photo.scorer.head,
        )
        return method.heatmap(case)

    return explain


def _layer_grid(photo: PreparedPhoto, setup: Setup) -> tuple[int, ...]:
    for bank in photo.banks.values():
        return tuple(bank.activations.shape[1:])
    maps, _ = photo.model.activations(photo.image[None], setup.layer)
    return tuple(maps.shape[2:])


def _on_grid(heatmap: Heatmap, grid: tuple[int, ...]) -> tuple[Float16, float]:
    """The heatmap averaged over the cells of a grid and divided by its maximum; the maximum."""
    pools = nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d
    pooled: Tensor = pools[len(grid) - 1](grid)(heatmap[None].float())[0]
    maximum = float(pooled.abs().max())
    scaled = pooled / maximum if maximum > 0 else pooled
    return scaled.cpu().numpy().astype(np.float16), maximum


def _failure(
    sample: Sample, method: Method, error: ScorecamError, seconds: float | None = None
) -> FailureRecord:
    return FailureRecord(
        id=sample.id,
        name=encodable(sample.name),
        label=encodable(sample.label) if isinstance(sample.label, str) else sample.label,
        method=method.name,
        failure=Failure(type(error).__name__, encodable(str(error))),
        timings={} if seconds is None else {"seconds": seconds},
    )
