"""The sanity check of a run: every other network's maps, compared with the trained network's."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scorecam.bank.bank import ScoreBank
from scorecam.base.wording import encodable, excerpt
from scorecam.datasets.sample import Sample
from scorecam.errors import OutputError, RunError, ScorecamError
from scorecam.images.pictures import stretched_picture
from scorecam.io.files import write_bytes
from scorecam.methods.method import Case, Method
from scorecam.metrics.similarity import SIMILARITIES
from scorecam.model.model import Model, Randomisable
from scorecam.model.offers import unconverted
from scorecam.model.scorer import Scorer
from scorecam.model.shortage import memory_errors_translated
from scorecam.model.task_columns import TaskColumns
from scorecam.model.variants import name_of
from scorecam.runs.answer import for_photo
from scorecam.runs.maps import map_bytes, read_grid
from scorecam.runs.progress import OnProgress, RunProgress
from scorecam.runs.record import Failure, LikenessRecord, Unreadable
from scorecam.runs.sanity.networks import DATA, Job
from scorecam.runs.store import Store
from scorecam.scoring.banks import make_bank
from scorecam.settings import Settings
from scorecam.shapes import Heatmap, Image

PICTURED = 3
"""The number of photos whose maps by other networks are kept, for the figure."""

KEPT_SIDE = 56
"""The most cells of a kept map along each axis."""


@dataclass(frozen=True, eq=False)
class Target:
    """What is explained in a photo: a column, and all columns that a task found there, if any."""

    column: int
    found: TaskColumns | None = None


@dataclass(frozen=True)
class Check:
    """A sanity check: what all of its photos and networks share.

    Args:
        model: the trained network.
        shuffled: the network trained on shuffled labels.
        remarks: on methods that were left out.
    """

    model: Randomisable
    shuffled: Model | None
    methods: tuple[Method, ...]
    layer: str
    settings: Settings
    store: Store[LikenessRecord]
    remarks: tuple[str, ...] = ()

    def run(
        self,
        jobs: Sequence[Job],
        samples: Sequence[Sample],
        image: Image,
        progress: OnProgress | None,
    ) -> dict[str, str]:
        """Compute the missing records.

        Returns:
            The photos that cannot be used, and why.
        """
        began = time.perf_counter()
        targets, failures = self._targets(samples)
        usable = [sample for sample in samples if sample.id in targets]
        flat = image.ndim == 3  # signals and volumes are not drawn
        pictured = {sample.id for sample in usable[:PICTURED] if flat}
        total, done, fresh = len(jobs) * len(usable), 0, 0
        for job in jobs:
            missing = [sample for sample in usable if not self._is_done(job, sample)]
            done += len(usable) - len(missing)
            if not missing:
                continue
            network = self._network(job, image)
            for sample in missing:
                keeps_maps = sample.id in pictured
                self._record(network, job, sample, targets[sample.id], keeps_maps=keeps_maps)
                done, fresh = done + 1, fresh + 1
                if progress is not None:
                    seconds = time.perf_counter() - began
                    progress(RunProgress(done, total, fresh, failed=len(failures), seconds=seconds))
        self.store.check_complete([job.name for job in jobs], [sample.id for sample in usable])
        return failures

    # ── the trained network ──────────────────────────────────────────────────────────────────

    def _targets(self, samples: Sequence[Sample]) -> tuple[dict[str, Target], dict[str, str]]:
        """What is explained in each photo, by id; and the photos that cannot be used, and why."""
        targets: dict[str, Target] = {}
        failures: dict[str, str] = {}
        for sample in samples:
            try:
                targets[sample.id] = self._save_originals(sample)
            except OutputError:  # it would occur for every photo
                raise
            except ScorecamError as error:
                failures[encodable(sample.name)] = encodable(str(error))
        return targets, failures

    def _save_originals(self, sample: Sample) -> Target:
        """Save the trained network's maps of its prediction, or of the task's answer."""
        image = self.image(sample)
        model = for_photo(self.model, image)
        found = model.task_columns
        if found is None:
            scores = Scorer(model, image, speed=unconverted(model)).columns
            target = Target(int(scores.argmax()))
        else:
            target = Target(found.column, found)
        size = tuple(image.shape[1:])
        layout = self.store.layout
        missing = [
            method
            for method in self.methods
            if not _is_kept(layout.original(method.name, sample.id), size)
        ]
        with memory_errors_translated():
            maps = self._maps(model, image, target.column, missing)
        for method in missing:
            self._save_map(layout.original(method.name, sample.id), maps[method.name])
        return target

    def original(self, method: Method, sample: Sample) -> Tensor:
        """The trained network's map.

        Raises:
            RunError: it cannot be read any more.
        """
        self.store.check_exists()
        file = self.store.layout.original(method.name, sample.id)
        try:
            return torch.from_numpy(read_grid(file, axes=None).astype(np.float32))
        except Unreadable as error:
            raise RunError(
                f"{excerpt(file, 200)} cannot be read: {error}.",
                likely="It was changed while the check ran.",
                do="Run the same command again: it resumes the check.",
            ) from error

    # ── another network ──────────────────────────────────────────────────────────────────────

    def _is_done(self, job: Job, sample: Sample) -> bool:
        """Whether there is an intact record; failures are tried again."""
        record, _ = self.store.judge(job.name, sample.id)
        return record is not None and record.failure is None

    def _network(self, job: Job, image: Image) -> Model:
        if job.mode == DATA and self.shuffled is not None:
            return self.shuffled
        return for_photo(self.model, image).randomised(job.chosen, image[None], job.seed)

    def _record(
        self, network: Model, job: Job, sample: Sample, target: Target, *, keeps_maps: bool
    ) -> None:
        """Explain a photo with another network, and save the record."""
        record, maps = self._compared(network, job, sample, target)
        for method in self.methods if keeps_maps and maps else ():
            file = self.store.layout.network_map(job.name, method.name, sample.id)
            self._save_map(file, _reduced(maps[method.name]))
        self.store.check_exists()
        self.store.write(record)

    def _compared(
        self, network: Model, job: Job, sample: Sample, target: Target
    ) -> tuple[LikenessRecord, dict[str, Heatmap]]:
        """The record, and the network's maps; no maps after a failure."""
        record = LikenessRecord(sample.id, encodable(sample.name), job.name, {})
        try:
            with memory_errors_translated():
                # A task's columns stay those that it found in the trained network's output.
                same = network if target.found is None else network.with_columns(target.found)
                maps = self._maps(same, self.image(sample), target.column, self.methods)
        except ScorecamError as error:
            failure = Failure(type(error).__name__, encodable(str(error)))
            return replace(record, failure=failure), {}
        values = {
            method.name: dict(self._similarities(method, sample, maps[method.name]))
            for method in self.methods
        }
        return replace(record, values=values), maps

    def _similarities(
        self, method: Method, sample: Sample, heatmap: Heatmap
    ) -> Iterator[tuple[str, float | None]]:
        """How similar a map is to the original one; None where that is undefined."""
        original = self.original(method, sample)
        for name, similarity in SIMILARITIES.items():
            value = similarity(original, heatmap)
            yield name, None if math.isnan(value) else value

    # ── maps ─────────────────────────────────────────────────────────────────────────────────

    def _maps(
        self, model: Model, image: Image, target: int, methods: Sequence[Method]
    ) -> dict[str, Heatmap]:
        """The heatmap of every method; with a reduced budget, each variant has its own bank."""
        banks: dict[str, ScoreBank] = {}

        def case(method: Method) -> Case:
            variant = self.settings.variant
            if method.variant is not None and not self.settings.exact:
                variant = method.variant
            key = name_of(variant)
            # Masked images are scored in float32, even if the other passes use another precision.
            settings = replace(self.settings, variant=variant, precision="float32")

            def bank() -> ScoreBank:
                if key not in banks:
                    banks[key] = make_bank(
                        model, image, target, layer=self.layer, settings=settings
                    )
                return banks[key]

            return Case(
                model,
                image,
                target=target,
                layer=self.layer,
                make_bank=bank,
                make_scorer=lambda: Scorer(model, image, speed=self.settings.speed),
            )

        return {method.name: method.heatmap(case(method)) for method in methods}

    def _save_map(self, file: Path, heatmap: Tensor) -> None:
        self.store.check_exists()
        write_bytes(file, map_bytes(heatmap.cpu().numpy()))

    # ── photos ───────────────────────────────────────────────────────────────────────────────

    def image(self, sample: Sample) -> Image:
        """The model's input made of a photo."""
        return self.model.read(sample.path).image.to(self.model.device)

    def photo(self, sample: Sample) -> Any:
        """The input as a picture, `h w 3` uint8."""
        image = self.image(sample)
        if self.model.preprocess is None:
            return np.asarray(stretched_picture(image))
        return np.asarray(self.model.preprocess.unnormalise(image))


def _is_kept(path: Path, size: tuple[int, ...]) -> bool:
    """Whether a map of this size exists and can be read."""
    try:
        return read_grid(path, axes=None).shape == size
    except Unreadable:
        return False


def _reduced(heatmap: Heatmap) -> Tensor:
    """The heatmap averaged over at most `KEPT_SIDE` cells along each axis."""
    high, wide = (min(pixels, KEPT_SIDE) for pixels in heatmap.shape)
    return nn.functional.adaptive_avg_pool2d(heatmap[None].float(), (high, wide))[0]
