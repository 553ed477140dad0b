"""The sanity check: whether the maps change when the weights change.

Model-parameter randomisation (Adebayo et al., NeurIPS 2018): stages are re-initialised, cascading
from the output down, or independently. Optionally, data randomisation: a network trained on
shuffled labels. The explained class is always the trained model's prediction. The folder can
be resumed like that of any run; see `runs/layout.py` for its files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from scorecam.backends import opening
from scorecam.base.wording import quoted
from scorecam.budget.plan import BudgetSpec
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset
from scorecam.errors import ModelError, OutputError, SettingError
from scorecam.io.arguments import function, several
from scorecam.io.arguments import path as as_path
from scorecam.io.ranges import COUNT
from scorecam.methods.method import Method
from scorecam.methods.names import methods_of
from scorecam.methods.runnable import runnable
from scorecam.model.model import Model, Randomisable
from scorecam.model.offers import check_offered
from scorecam.model.shortage import memory_errors_translated
from scorecam.runs.answer import for_photo
from scorecam.runs.config import describe
from scorecam.runs.progress import OnProgress
from scorecam.runs.record import parse_likeness
from scorecam.runs.sanity.check import Check
from scorecam.runs.sanity.networks import DATA, MODES, SHUFFLED, Job, all_jobs
from scorecam.runs.sanity.results import Sanity, write_results
from scorecam.runs.start import begin, first_image, with_variants
from scorecam.runs.store import Store
from scorecam.settings import Settings
from scorecam.shapes import Image

_KNOWN_MODES = f"The modes are {' and '.join(MODES)}."


def sanity(
    model: Model | nn.Module,
    dataset: Dataset | str | os.PathLike[str],
    methods: str | Sequence[Method] = "scorecam,gradcam,edges",
    *,
    out: str | os.PathLike[str],
    modes: Sequence[str] = MODES,
    seeds: int = 1,
    shuffled: Model | nn.Module | None = None,
    layer: str | None = None,
    budget: BudgetSpec = "fast",
    runtime: str = "auto",
    progress: OnProgress | None = None,
) -> Sanity:
    """Compare every method's maps of randomised copies of a network with those of the network.

    The given network is not changed. Costs one explanation per photo, method, stage, mode and seed.

    Args:
        model: with its preprocessing; its weights must be accessible.
        dataset: photos; labels are not used.
        methods: names; "edges" is a control that must fail. Those that need gradients are left
            out, with a remark, if the model has none.
        out: the folder of the check; an unfinished check in it is resumed.
        modes: "cascading", "independent" or both.
        seeds: randomised networks per stage and mode; a photo's similarity is the mean over them.
            Intervals are over photos and do not include the variation between seeds.
        shuffled: the same network trained on shuffled labels: the data-randomisation check.
        layer: by name; None for the default.
        budget: how many masks Score-CAM scores.
        runtime: as for `explain`; "auto" is decided once.
        progress: called after every photo and network.

    Raises:
        ModelError: the network cannot be copied, or a layer cannot be re-initialised.
        SettingError: an option is invalid.
        RunError, DatasetError, OutputError: as for `evaluate`.
    """
    folder = Path(as_path("out", out, OutputError))
    function("progress", progress, "a RunProgress")
    opened, other = _opened(model, shuffled)
    photos = dataset if isinstance(dataset, Dataset) else open_dataset(as_path("dataset", dataset))
    named, left_out = runnable(methods_of(methods), opened)
    modes = _checked_modes([modes] if isinstance(modes, str) else modes)
    seeds = COUNT.check("seeds", seeds)
    settings = _settings(opened, budget, runtime)
    image, layer, form = first_image(opened, photos, layer)
    opened, other = opened.with_form(form), other and other.with_form(form)
    first = for_photo(opened, image)
    jobs = list(all_jobs(stages := first.stages(image[None]), modes, seeds))
    if other is not None:
        _check_same(first, other, stages, image, layer=layer)
        jobs.append(Job(DATA, SHUFFLED, 0, ()))
    recorded = _recorded(settings, layer) | {
        "modes": list(modes),
        "seeds": seeds,
        "shuffled sha256": None if other is None else other.fingerprint(),
    }
    store = Store(folder, [job.name for job in jobs], parse_likeness)
    named = with_variants(named, store.recorded(), first, image, layer=layer)
    config = describe(opened, photos, named, [], settings=recorded, masking=settings.masking)
    config, settings, _ = begin(store, config, first, image, settings=settings)
    check = Check(
        model=opened,
        shuffled=other,
        methods=tuple(named),
        layer=layer,
        settings=settings,
        store=store,
        remarks=tuple(left_out),
    )
    same = config["shuffled sha256"] == config["weights sha256"]
    with memory_errors_translated():
        failures = check.run(jobs, photos.samples, image, progress)
        return write_results(check, stages, jobs, photos.samples, failures=failures, same=same)


def _opened(
    model: Model | nn.Module, shuffled: Model | nn.Module | None
) -> tuple[Randomisable, Model | None]:
    opened = opening.as_model(model)
    if not isinstance(opened, Randomisable):
        raise ModelError(
            f"The weights of {opened.spec} cannot be re-initialised, as the sanity check does.",
            likely="The backend that runs it gives no access to the weights.",
            do="Pass the network that it was made from, such as the torch.nn.Module.",
        )
    if shuffled is None or isinstance(shuffled, Model):
        return opened, shuffled
    return opened, opening.open_model(shuffled, preprocess=opened.preprocess)


def _recorded(settings: Settings, layer: str) -> dict[str, Any]:
    budget, runtime = settings.budget_text, settings.runtime
    return {"check": "sanity", "layer": layer, "budget": budget, "runtime": runtime}


def _settings(model: Model, budget: BudgetSpec, runtime: str) -> Settings:
    settings = Settings(budget=budget, runtime=runtime)
    check_offered(model, settings.speed)
    return settings


def _checked_modes(given: Sequence[str]) -> list[str]:
    modes: list[str] = several("modes", given, str, _KNOWN_MODES)
    if not modes:
        raise SettingError("No mode was given.", do=_KNOWN_MODES)
    if unknown := [mode for mode in modes if mode not in MODES]:
        listed = ", ".join(map(quoted, unknown))
        raise SettingError(f"There is no mode {listed}.", do=_KNOWN_MODES)
    if len(set(modes)) < len(modes):
        raise SettingError("A mode is given twice.", do="Name each mode once.")
    return modes


def _check_same(
    model: Model, shuffled: Model, stages: Sequence[str], image: Image, *, layer: str
) -> None:
    """Raises ModelError unless the network trained on shuffled labels has the same architecture."""
    if model.task_columns is not None:
        shuffled = shuffled.with_columns(model.task_columns)
    shuffled.find_layer(layer, image[None])
    own, others = (len(each.scores(image[None])[0]) for each in (model, shuffled))
    difference = ""
    if own != others:
        difference = f"has {others} classes, the model {own}"
    elif isinstance(shuffled, Randomisable) and (
        (parts := shuffled.stages(image[None])) != list(stages)
    ):
        difference = f"has the stages {', '.join(parts)}; the model has {', '.join(stages)}"
    if difference:
        raise ModelError(
            f"The network trained on shuffled labels {difference}.",
            likely="The two are different networks.",
            do="Train the same network on the same photos with shuffled labels.",
        )
