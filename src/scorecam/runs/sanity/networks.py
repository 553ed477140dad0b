"""Every photo put to every other network, whose maps are compared with the trained one's."""

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
from scorecam.base.wording import excerpt, shown
from scorecam.cam import find_variant
from scorecam.datasets.sample import Sample
from scorecam.errors import ModelError, OutputError, RunError, ScorecamError
from scorecam.images.photo import read_photo
from scorecam.images.preprocess import Preprocess
from scorecam.io.files import write_bytes
from scorecam.io.ranges import NETWORKS
from scorecam.methods.method import Case, Method
from scorecam.metrics.similarity import SIMILARITIES
from scorecam.model.engine import Speed
from scorecam.model.model import Model, WhiteBox
from scorecam.model.scorer import Scorer
from scorecam.model.shortage import memory_errors_translated
from scorecam.runs.config import SCHEMA
from scorecam.runs.evaluate import OnProgress, Progress
from scorecam.runs.record import Record, Unreadable, read_plane
from scorecam.runs.seals import map_bytes
from scorecam.runs.store import Store
from scorecam.scoring.banks import make_bank
from scorecam.settings import Settings
from scorecam.shapes import Heatmap, Image

MODES = ("cascading", "independent")
DATA, SHUFFLED = "data", "trained on shuffled labels"
"""The mode and stage of the network that the user has trained on shuffled labels."""

PICTURED, LONG = 3, 56
"""Photos whose maps are kept for the picture, and cells of those along the longer side."""


@dataclass(frozen=True)
class Job:
    """One other network.

    Args:
        mode: "cascading": every stage from the output down to this one is drawn anew;
            "independent": it alone; "data": none, the network was trained on shuffled labels.
        stage: by name.
        seed: of what was drawn.
        chosen: the stages that are drawn anew.
    """

    mode: str
    stage: str
    seed: int
    chosen: tuple[str, ...]

    @property
    def name(self) -> str:
        """As records are filed."""
        return f"{self.mode} {self.stage} {self.seed}"


def all_jobs(stages: Sequence[str], modes: Sequence[str], seeds: int) -> Iterator[Job]:
    """The networks that are drawn.

    Args:
        stages: from the output to the input.

    Raises:
        SettingError: more networks are wanted for a stage than are drawn.
    """
    NETWORKS.check("seeds", seeds)
    for mode in modes:
        for place, stage in enumerate(stages):
            chosen = tuple(stages[: place + 1]) if mode == "cascading" else (stage,)
            for seed in range(seeds):
                yield Job(mode, stage, seed, chosen)


@dataclass(frozen=True)
class Check:
    """What every photo and network is put through."""

    model: WhiteBox
    shuffled: Model | None
    methods: tuple[Method, ...]
    layer: str
    settings: Settings
    store: Store

    def go(
        self,
        jobs: Sequence[Job],
        samples: Sequence[Sample],
        image: Image,
        progress: OnProgress | None,
    ) -> dict[str, str]:
        """Do what is not done yet; returns the photos that cannot be used, and why."""
        began = time.perf_counter()
        failures: dict[str, str] = {}
        targets: dict[str, int] = {}
        for sample in samples:
            try:
                targets[sample.id] = self._original(sample)
            except OutputError:  # no fault of the photo: the next one would meet it too
                raise
            except ScorecamError as error:
                failures[shown(sample.name)] = shown(str(error))
        usable = [sample for sample in samples if sample.id in targets]
        pictured = {sample.id for sample in usable[:PICTURED]}
        total, done, fresh = len(jobs) * len(usable), 0, 0
        for job in jobs:
            missing = [sample for sample in usable if not self._done(job, sample)]
            done += len(usable) - len(missing)
            if not missing:
                continue
            drawn = self._network(job, image)
            for sample in missing:
                record, maps = self._compared(drawn, job, sample, targets[sample.id])
                for method in self.methods if sample.id in pictured and maps else ():
                    self._keep(self.map_of(method, sample, job), _small(maps[method.name]))
                self.store.check_there()
                self.store.write(record)
                done, fresh = done + 1, fresh + 1
                if progress is not None:
                    seconds = time.perf_counter() - began
                    progress(Progress(done, total, fresh, len(failures), seconds))
        self.store.check_kept([job.name for job in jobs], [sample.id for sample in usable])
        return failures

    def _done(self, job: Job, sample: Sample) -> bool:
        """Whether there is a whole record; what failed is tried again."""
        record = self.store.read(job.name, sample.id)
        return record is not None and "failure" not in record

    def _network(self, job: Job, image: Image) -> Model:
        if job.mode == DATA and self.shuffled is not None:
            return self.shuffled
        return self.model.randomised(job.chosen, image[None], job.seed)

    def _original(self, sample: Sample) -> int:
        """The trained model's prediction; its maps are in the folder afterwards."""
        image = self.image(sample)
        scorer = Scorer(self.model, image, speed=Speed("eager"))
        target = int(scorer.columns.argmax())
        size = tuple(image.shape[1:])
        missing = [each for each in self.methods if not _kept(self.map_of(each, sample), size)]
        with memory_errors_translated():
            maps = self._maps(self.model, image, target, missing)
        for method in missing:
            self._keep(self.map_of(method, sample), maps[method.name])
        return target

    def _keep(self, path: Path, heatmap: Tensor) -> None:
        self.store.check_there()
        write_bytes(path, map_bytes(heatmap.cpu().numpy()))

    def _compared(
        self, drawn: Model, job: Job, sample: Sample, target: int
    ) -> tuple[Record, dict[str, Heatmap]]:
        """The record, and the maps it is of; none after a failure."""
        record: Record = {
            "schema": SCHEMA,
            "id": sample.id,
            "name": shown(sample.name),
            "method": job.name,
            "values": {},
        }
        try:
            with memory_errors_translated():
                maps = self._maps(drawn, self.image(sample), target, self.methods)
        except ScorecamError as error:
            failure = {"kind": type(error).__name__, "message": shown(str(error))}
            return record | {"failure": failure}, {}
        for method in self.methods:
            original = self.original(method, sample)
            found = {
                name: alike(original, maps[method.name]) for name, alike in SIMILARITIES.items()
            }
            record["values"][method.name] = {
                name: None if math.isnan(value) else value for name, value in found.items()
            }
        return record, maps

    def _maps(
        self, model: Model, image: Image, target: int, methods: Sequence[Method]
    ) -> dict[str, Heatmap]:
        """Every method's heatmap; with a reduced budget each variant asks for its own masks."""
        banks: dict[str, ScoreBank] = {}

        def case(method: Method) -> Case:
            aim = str(method.settings.get("variant", "official"))
            key = "official" if self.settings.exact else aim
            # Masked images are scored in float32, whatever precision the other questions take.
            settings = replace(self.settings, variant=find_variant(key), precision="float32")

            def ask() -> ScoreBank:
                if key not in banks:
                    banks[key] = make_bank(
                        model, image, target, layer=self.layer, settings=settings
                    )
                return banks[key]

            return Case(
                model,
                image,
                target,
                self.layer,
                ask,
                lambda: Scorer(model, image, speed=self.settings.speed),
            )

        return {method.name: method.heatmap(case(method)) for method in methods}

    def image(self, sample: Sample) -> Image:
        """What the model sees of a photo."""
        return self._preprocess(read_photo(sample.path)).to(self.model.device)

    @property
    def _preprocess(self) -> Preprocess:
        if self.model.preprocess is None:
            raise ModelError(
                "The model's preprocessing is not known.", do="Give preprocess= (--preprocess)."
            )
        return self.model.preprocess

    def photo(self, sample: Sample) -> Any:
        """The same as a picture, `h w 3` uint8."""
        return np.asarray(self._preprocess.unnormalise(self.image(sample)))

    def original(self, method: Method, sample: Sample) -> Tensor:
        """The trained model's map.

        Raises:
            RunError: it was there before, and cannot be read any more.
        """
        self.store.check_there()
        file = self.map_of(method, sample)
        try:
            return torch.from_numpy(read_plane(file).astype(np.float32))
        except Unreadable as error:
            raise RunError(
                f"{excerpt(file, 200)} cannot be read: {error}.",
                likely="It was changed while the check ran.",
                do="Run the check again: it goes on where it was.",
            ) from error

    def map_of(self, method: Method, sample: Sample, job: Job | None = None) -> Path:
        """Where a map lies: the trained model's, or another network's."""
        slug, file = self.store.slug(method.name), f"{sample.id}.npy"
        if job is None:
            return self.store.folder / "originals" / slug / file
        return self.store.folder / "maps" / self.store.slug(job.name) / slug / file


def _kept(path: Path, size: tuple[int, ...]) -> bool:
    """Whether a map of this size is there and can be read."""
    try:
        return read_plane(path).shape == size
    except Unreadable:  # not there, or damaged: it is made again
        return False


def _small(heatmap: Heatmap) -> Tensor:
    """Averaged over at most `LONG` cells along each axis."""
    high, wide = (min(pixels, LONG) for pixels in heatmap.shape)
    return nn.functional.adaptive_avg_pool2d(heatmap[None].float(), (high, wide))[0]
