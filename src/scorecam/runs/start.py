"""The start of a run: checks, the first image, and the choices that hold for every photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import PIL.Image

from scorecam.cam import VARIANTS, Head, Masking, live
from scorecam.datasets.sample import Dataset
from scorecam.errors import DatasetError, ModelError, ScorecamError, TargetError
from scorecam.methods.method import Method
from scorecam.methods.score_cam import ScoreCAMMethod
from scorecam.model.engine import Speed
from scorecam.model.inputs import one_image
from scorecam.model.model import Model
from scorecam.model.offers import check_offered, unconverted
from scorecam.model.scorer import Scorer
from scorecam.model.variants import suited
from scorecam.runs.answer import for_photo
from scorecam.runs.config import Config, recorded_variants
from scorecam.runs.record import AnyRecord
from scorecam.runs.store import Store
from scorecam.settings import Settings
from scorecam.shapes import Image

MANY_PASSES = 10**9
"""The number of passes assumed for the choice of a runtime, so that conversion always pays off."""

TRIES = 5
"""The number of photos on which the model may fail before the run is given up."""


def first_image(model: Model, dataset: Dataset, layer: str | None) -> tuple[Image, str, object]:
    """The input from the first photo that fits, the name of the layer, and the form.

    A photo fits if the model and its task accept it. The form is how the model takes the input; see
    `Model.with_form`.

    If no photo can be read, the input is black, so that a later retry uses the same layer.

    Raises:
        PhotoError: the model's preprocessing is unknown, and no file of numbers can be read.
        DatasetError: there are no photos, or two have the same name.
        LayerError: there is no such layer.
        ModelError: the model fails on each of the first photos.
        TargetError: the model's task finds nothing to explain in any photo.
    """
    _check_samples(dataset)
    refused: list[ModelError] = []
    unread: ScorecamError | None = None
    nothing: TargetError | None = None
    for sample in dataset.samples:
        try:
            image = model.read(sample.path).image.to(model.device)
        except ScorecamError as error:
            unread = unread or error
            continue
        try:
            return image, *_layer_and_form(model, image, layer)
        except TargetError as error:  # the task finds nothing in this photo
            nothing = error
        except ModelError as error:
            refused.append(error)
            if len(refused) == TRIES:
                break
    if refused:
        raise refused[0]
    if nothing is not None:
        raise TargetError(
            f"The task finds nothing to explain in any photo. In the last one: {nothing.what}",
            likely=nothing.likely,
            do=nothing.do,
        ) from nothing
    if model.preprocess is None and unread is not None:
        raise unread
    image = model.read(PIL.Image.new("RGB", (64, 64))).image.to(model.device)
    return image, *_layer_and_form(model, image, layer)


def _layer_and_form(model: Model, image: Image, layer: str | None) -> tuple[str, object]:
    images, fitted = one_image(image, model, run=model.task is None)
    own = fitted if model.task is None else for_photo(model.with_form(fitted.form), image)
    return own.find_layer(layer, images), fitted.form


def _check_samples(dataset: Dataset) -> None:
    if not dataset.samples:
        raise DatasetError(f"{dataset.root} holds no photos.", do="Give another data set.")
    if len({sample.id for sample in dataset.samples}) < len(dataset):
        raise DatasetError(
            f"Two photos of {dataset.root} have the same name.",
            do="Give each sample a unique name: results are stored by name.",
        )


def with_variants(
    methods: Sequence[Method],
    recorded: Config | None,
    model: Model,
    image: Image,
    *,
    layer: str,
    head: Head | None = None,
) -> list[Method]:
    """The methods with one variant for the whole run instead of "auto".

    It is the recorded one, or that of the first photo. Runs of versions without "auto" have
    recorded `official`.

    Args:
        recorded: the configuration of the run that is resumed, if any.
        image: the first image.
        head: the kind of the model's scores; None to detect it.
    """
    names = recorded_variants(recorded or {})

    def chosen(method: Method) -> Method:
        if not isinstance(method, ScoreCAMMethod) or method.variant != "auto":
            return method
        if method.name in names:
            return replace(method, variant=VARIANTS[names[method.name]])
        found = head or Scorer(model, image, speed=unconverted(model)).head
        maps = model.activations(image[None], layer)[0][0]
        return replace(method, variant=suited(found, maps[live(maps, image.shape[1:], Masking())]))

    return [chosen(method) for method in methods]


def begin(
    store: Store[AnyRecord], config: Config, model: Model, image: Image, *, settings: Settings
) -> tuple[Config, Settings, list[str]]:
    """Begin or resume a run.

    Returns:
        The recorded configuration; the settings with its runtime and precision; remarks.

    Raises:
        RunError, OutputError: as for `Store.begin`.
    """
    speed = chosen_speed(store.recorded(), model, image, settings.speed)
    config = config | {"runtime used": speed.runtime, "precision used": speed.precision}
    config, remarks = store.begin(config)
    # Another shard may have started the run first.
    used = replace(settings, runtime=config["runtime used"], precision=config["precision used"])
    check_offered(model, used.speed)
    return config, used, remarks


def chosen_speed(recorded: Config | None, model: Model, image: Image, requested: Speed) -> Speed:
    """The runtime and precision of every photo: the recorded ones, or those of the first photo."""
    if recorded is not None and "runtime used" in recorded:
        return Speed(recorded["runtime used"], recorded["precision used"])
    if "auto" not in (requested.runtime, requested.precision):
        own = requested.precision not in model.precisions  # the default, of another format
        return replace(requested, precision=model.precision) if own else requested
    engine = Scorer(model, image, speed=requested, passes=MANY_PASSES).engine
    return Speed(engine.runtime, engine.precision)
