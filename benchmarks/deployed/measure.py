"""Compare the maps of the deployed forms of EfficientNet-Lite0 with PyTorch's.

    python -m benchmarks.deployed.forms --photos PHOTOS --work WORK        # once
    python -m benchmarks.deployed.measure --photos PHOTOS --work WORK --budget exact

Every form explains the same 128 composites for the class that PyTorch predicts in float32. Each
photo and form has a record in WORK, so a run can be stopped and resumed. At the end, or with
`--forms ''`, the records are summed up in benchmarks/results/deployed/BUDGET.json, which
`deployed_page.py` reads. A form whose file or library is missing is left out.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

import scorecam
from benchmarks.common.paths import RESULTS
from benchmarks.deployed.forms import measured
from scorecam.datasets.sample import Sample
from scorecam.errors import MissingExtra, ModelError
from scorecam.metrics.similarity import pearson
from scorecam.metrics.statistics import interval, paired, wilson

REFERENCE = "PyTorch float32"
BUDGETS = ("exact", "fast")


@dataclass(frozen=True)
class Subject:
    """A form that is measured.

    Args:
        source: a spec, or a file in the work folder.
        precision: of the passes.
        least_mean, least_worst: what the similarity to PyTorch should reach.
    """

    source: str
    precision: str = "float32"
    least_mean: float = 0.0
    least_worst: float = 0.0


SUBJECTS = {
    REFERENCE: Subject("lite0"),
    "PyTorch bfloat16": Subject("lite0", "bfloat16", 0.999, 0.98),
    "ONNX float32": Subject("lite0.onnx", least_mean=0.99999, least_worst=0.99999),
    "ONNX float16": Subject("lite0.fp16.onnx", least_mean=0.999, least_worst=0.98),
    "ONNX int8 QDQ": Subject("lite0.int8.onnx", least_mean=0.99),
    "ONNX int8 QOperator": Subject("lite0.int8.qop.onnx", least_mean=0.99),
    "OpenVINO float32": Subject("lite0.xml", least_mean=0.99999, least_worst=0.99999),
    "OpenVINO bfloat16": Subject("lite0.xml", "bfloat16", 0.999, 0.98),
    "OpenVINO int8": Subject("lite0.int8.xml", least_mean=0.99),
}


# ── records ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Records:
    """The records and maps of one budget in the work folder."""

    folder: Path
    budget: Literal["exact", "fast"]

    def of(self, form: str, sample: Sample) -> Path:
        """The record of one form and photo."""
        return self.folder / form.replace(" ", "-") / f"{sample.id}.json"

    def map_of(self, sample: Sample) -> Path:
        """The map of the reference."""
        return self.of(REFERENCE, sample).with_suffix(".npy")

    def read(self, form: str) -> dict[str, dict[str, Any]]:
        """The records of one form by photo."""
        files = sorted(self.of(form, _ANY).parent.glob("*.json"))
        return {file.stem: json.loads(file.read_text("utf-8")) for file in files}

    def write(self, form: str, sample: Sample, values: dict[str, Any]) -> None:
        """Write a record under a temporary name, and rename it."""
        file = self.of(form, sample)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(values) + "\n", "utf-8")
        part.replace(file)


_ANY = Sample("any", Path("any"))


# ── measuring ────────────────────────────────────────────────────────────────────────────────────


def opened(subject: Subject, work: Path) -> scorecam.Model:
    """The model of a form, with the preprocessing and the class names of EfficientNet-Lite0."""
    if (work / subject.source).is_file():
        file = str(work / subject.source)
        labels = str(work / "labels.txt")
        return scorecam.open_model(file, preprocess=work / "lite0.json", labels=labels)
    return scorecam.open_model(subject.source)


def measure(form: str, samples: tuple[Sample, ...], records: Records, work: Path) -> None:
    """Measure one form on the photos without a record."""
    subject = SUBJECTS[form]
    missing = [sample for sample in samples if not records.of(form, sample).exists()]
    if not missing:
        return
    try:
        model = opened(subject, work)
    except (ModelError, MissingExtra) as error:
        print(f"{form}: left out. {error}", flush=True)
        return
    began = time.perf_counter()
    for done, sample in enumerate(missing, start=1):
        records.write(form, sample, _record(model, form, sample, records))
        if done % 10 == 0 or done == len(missing):
            minutes = (time.perf_counter() - began) / 60
            print(f"{form}: {done} of {len(missing)} photos, {minutes:.1f} min", flush=True)


def _record(model: scorecam.Model, form: str, sample: Sample, records: Records) -> dict[str, Any]:
    """The numbers of one form and photo."""
    target: int | None = None
    if form != REFERENCE:
        first = json.loads(records.of(REFERENCE, sample).read_text("utf-8"))
        target = first["predicted"]
    explanation = scorecam.explain(
        model,
        str(sample.path),
        target,
        budget=records.budget,
        precision=SUBJECTS[form].precision,
        runtime="eager" if SUBJECTS[form].source == "lite0" else "auto",
    )
    scaled = explanation.scaled.cpu()
    if form == REFERENCE:
        records.map_of(sample).parent.mkdir(parents=True, exist_ok=True)
        np.save(records.map_of(sample), scaled.numpy())
    reference = torch.from_numpy(np.load(records.map_of(sample)))
    return {
        "name": sample.name,
        "predicted": explanation.top(1)[0].target.index,
        "similarity": pearson(reference, scaled),
        "energy": _energy(model, sample, explanation.heatmap.cpu()),
        "iou": overlap(reference, scaled),
        "passes": explanation.provenance.forward_passes,
        "layer": explanation.layer,
        "runtime": explanation.provenance.runtime,
    }


def overlap(one: Tensor, other: Tensor) -> float:
    """Intersection over union of the regions above half of each map's range."""
    first, second = one > 0.5, other > 0.5
    union = int((first | second).sum())
    return 1.0 if not union else int((first & second).sum()) / union


def _energy(model: scorecam.Model, sample: Sample, heatmap: Tensor) -> float | None:
    """The share of the map inside the object's mask."""
    if sample.mask is None or model.preprocess is None or not float(heatmap.sum()) > 0:
        return None
    mask = torch.as_tensor(model.preprocess.mask_to_input(sample.mask()))
    return float(heatmap[mask.bool()].sum() / heatmap.sum())


# ── results ──────────────────────────────────────────────────────────────────────────────────────


def results(records: Records, work: Path) -> dict[str, Any]:
    """The means of every form over the photos that it and the reference finished."""
    reference = records.read(REFERENCE)
    forms: dict[str, Any] = {}
    for form, subject in SUBJECTS.items():
        own = records.read(form)
        common = [sample for sample in reference if sample in own]
        if common:
            pairs = [(reference[sample], own[sample]) for sample in common]
            forms[form] = _summary(pairs, subject, work)
    return {"photos": len(reference), "budget": records.budget, "forms": forms}


def _summary(
    pairs: list[tuple[dict[str, Any], dict[str, Any]]], subject: Subject, work: Path
) -> dict[str, Any]:
    similarities = [own["similarity"] for _, own in pairs]
    worst = min(pairs, key=lambda pair: pair[1]["similarity"])[1]
    flips = [own for first, own in pairs if own["predicted"] != first["predicted"]]
    known = [(a["energy"], b["energy"]) for a, b in pairs if None not in (a["energy"], b["energy"])]
    file = work / subject.source
    return {
        "source": subject.source,
        "precision": subject.precision,
        "bytes": _bytes(file),
        "layer": worst["layer"],
        "runtime": worst["runtime"],
        "passes": interval([own["passes"] for _, own in pairs]).mean,
        "similarity": interval(similarities).plain(),
        "worst": worst["similarity"],
        "worst photo": worst["name"],
        "flips": {"photos": len(flips), **wilson(len(flips), len(pairs)).plain()},
        "flipped": [own["name"] for own in flips],
        "energy": interval([energy for _, energy in known]).plain(),
        "energy gained": paired([b for _, b in known], [a for a, _ in known]).plain(),
        "iou": interval([own["iou"] for _, own in pairs]).plain(),
        "least mean": subject.least_mean,
        "least worst": subject.least_worst,
    }


def _bytes(file: Path) -> int | None:
    """The size of a form's file, with the weights of an OpenVINO file; None if there is none."""
    files = [part for part in (file, file.with_suffix(".bin")) if part.is_file()]
    if file.suffix != ".xml":
        files = files[:1]
    return sum(part.stat().st_size for part in files) if file.is_file() else None


def main() -> None:
    """Measure the forms, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, default=Path("out/photos/composites"))
    parser.add_argument("--work", type=Path, default=Path("out/deployed"))
    parser.add_argument("--forms", default=",".join(SUBJECTS))
    parser.add_argument("--budget", choices=BUDGETS, default="exact")
    parser.add_argument("--limit", type=int, help="fewer photos, to try the script")
    parser.add_argument("--results", type=Path, default=RESULTS / "deployed")
    options = parser.parse_args()
    records = Records(options.work / "records" / options.budget, options.budget)
    samples = measured(options.photos).samples[: options.limit]
    names = [name for name in options.forms.split(",") if name]
    for form in dict.fromkeys([REFERENCE, *names] if names else []):
        measure(form, samples, records, options.work)
    options.results.mkdir(parents=True, exist_ok=True)
    file = options.results / f"{options.budget}.json"
    file.write_text(json.dumps(results(records, options.work), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
