"""One photo: every method's heatmap, and what every measure says of it.

`work` is a function of its arguments alone. Whoever schedules photos, one process or a cluster,
calls it.
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
from scorecam.base.wording import shown
from scorecam.cam import find_variant
from scorecam.datasets.sample import Sample
from scorecam.errors import MissingExtra, ModelError, ScorecamError
from scorecam.methods.method import Case, Method
from scorecam.metrics.metric import Seen
from scorecam.model.scorer import Scorer
from scorecam.model.shortage import memory_errors_translated
from scorecam.runs.config import SCHEMA
from scorecam.runs.store import Record
from scorecam.runs.subject import Setup, Subject, column, look
from scorecam.scoring.banks import make_bank
from scorecam.shapes import Heatmap, Image

Float16 = npt.NDArray[np.float16]


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
    keep: Callable[[Subject, ScoreBank | None], None] | None = None,
) -> Iterator[Done]:
    """Explain and judge one photo by some of the methods, one after the other.

    A photo that cannot be read, a network that fails on it, an annotation that makes no sense: all
    are results, said in the record.

    Args:
        keep: is given the photo and the bank, where a method asked for it, before the first
            result that rests on it: whoever has the record has the bank. Where none asks, it is
            given the photo alone, before the last result.

    Raises:
        MissingExtra: a method's library is not installed: no photo's fault.
    """
    try:
        with memory_errors_translated():
            subject = look(sample, setup)
    except MissingExtra:
        raise
    except ScorecamError as error:
        for method in methods:
            yield Done(_failure(sample, method, error))
        return
    # With a reduced budget there is a bank for each variant; the first one's is kept.
    kept = setup.aim(setup.asking)
    for method in methods:
        began = time.perf_counter()
        asked = subject.passes
        try:
            with memory_errors_translated():
                done = _judged(subject, setup, method, began, asked)
        except MissingExtra:
            raise
        except ScorecamError as error:
            record = _failure(sample, method, error)
            record["timings"] = {"seconds": time.perf_counter() - began}
            done = Done(record)
        bank = subject.banks.get(kept)
        if keep is not None and (bank is not None or method is methods[-1]):
            keep(subject, bank)
            keep = None
        yield done


# ── one photo and method ──────────────────────────────────────────────────────────────────────


def _case(subject: Subject, setup: Setup, method: Method) -> Case:
    """What a method is given; with a reduced budget each variant has a bank aimed at itself."""
    aim = setup.aim(method)

    def ask() -> ScoreBank:
        if aim not in subject.banks:
            subject.banks[aim] = _bank(setup, aim, subject.image, subject.target)
        return subject.banks[aim]

    return Case(
        setup.model,
        subject.image,
        subject.target,
        setup.layer,
        ask=ask,
        listen=lambda: subject.scorer,
        seed=setup.settings.seed,
        name=subject.sample.name,
    )


def _bank(setup: Setup, variant: str, image: Image, target: int) -> ScoreBank:
    settings = replace(setup.settings, variant=find_variant(variant))
    return make_bank(setup.model, image, target, layer=setup.layer, settings=settings)


def _another(subject: Subject, setup: Setup, method: Method) -> Callable[[Image], Heatmap]:
    """The same method's heatmap of another image for the same column."""

    def explain(image: Image) -> Heatmap:
        aim = str(method.settings.get("variant", "official"))
        return method.heatmap(
            Case(
                setup.model,
                image,
                subject.target,
                setup.layer,
                ask=lambda: _bank(setup, aim, image, subject.target),
                listen=lambda: Scorer(
                    setup.model,
                    image,
                    head=subject.scorer.head,
                    speed=setup.settings.speed,
                    batch_size=setup.settings.batch_size,
                ),
                seed=setup.settings.seed,
            )
        )

    return explain


def _judged(subject: Subject, setup: Setup, method: Method, began: float, asked: int) -> Done:
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
        "target": column(subject, subject.target),
        "predicted": column(subject, subject.predicted),
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
    if subject.remarks:
        record["remarks"] = [shown(remark) for remark in subject.remarks]
    return Done(record, grid)


def _grid(subject: Subject, setup: Setup) -> tuple[int, ...]:
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
