"""Methods by name: `scorecam`, `scorecam:variant=algorithm1`, `rise:masks=1000:cells=8`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from scorecam.base.wording import quoted
from scorecam.cam import Variant, find_variant
from scorecam.errors import PhotoError, SettingError, did_you_mean
from scorecam.explanation import Explanation
from scorecam.io.arguments import several
from scorecam.io.ranges import parse_real, parse_whole
from scorecam.methods.cams import GradientCAM
from scorecam.methods.controls import Centre, Edges, FakeCAM, Random, Uniform
from scorecam.methods.files import Maps
from scorecam.methods.gradients import (
    Gradient,
    GuidedBackprop,
    IntegratedGradients,
    Occlusion,
    SmoothGrad,
)
from scorecam.methods.mask import Mask
from scorecam.methods.method import Case, Method
from scorecam.methods.rise import RISE
from scorecam.model.model import Model
from scorecam.model.scorer import Scorer
from scorecam.shapes import Heatmap

Value = int | float | str

LONGEST = 10_000
"""Characters of a list of methods."""

LONGEST_TEXT = 4096
"""Characters of one setting's text: no path is longer."""


@dataclass(frozen=True)
class ScoreCAMMethod(Method):
    """Score-CAM in one of its variants, read from the case's bank."""

    name: str
    variant: Variant
    settings: Mapping[str, object]
    source: str = "Wang et al., Score-CAM, CVPR workshops 2020"

    def heatmap(self, case: Case) -> Heatmap:
        return case.bank.heatmap(case.target, self.variant)


def _scorecam(name: str, variant: str) -> Method:
    found = find_variant(variant)
    return ScoreCAMMethod(name, found, {"variant": found.name, "formula": found.formula})


@dataclass(frozen=True)
class _Entry:
    """How a method is built, and the settings it has.

    Args:
        build: the name, and the settings by name, to the method.
        settings: their defaults; a value is of its default's type.
    """

    build: Callable[..., Method]
    settings: Mapping[str, Value] = field(default_factory=dict[str, Value])


METHODS: dict[str, _Entry] = {
    "scorecam": _Entry(_scorecam, {"variant": "official"}),
    "gradient": _Entry(Gradient),
    "smoothgrad": _Entry(SmoothGrad, {"samples": 50, "sigma": 0.15}),
    "integrated": _Entry(IntegratedGradients, {"steps": 50}),
    "guided": _Entry(GuidedBackprop),
    "occlusion": _Entry(Occlusion, {"window": 0.15, "stride": 0.05}),
    "gradcam": _Entry(functools.partial(GradientCAM, kind="gradcam")),
    "gradcam++": _Entry(functools.partial(GradientCAM, kind="gradcam++")),
    "xgradcam": _Entry(functools.partial(GradientCAM, kind="xgradcam")),
    "layercam": _Entry(functools.partial(GradientCAM, kind="layercam")),
    "rise": _Entry(RISE, {"masks": 4000, "cells": 7, "p": 0.5}),
    "mask": _Entry(
        Mask,
        {
            "steps": 300,
            "rate": 0.1,
            "cells": 28,
            "l1": 1e-4,
            "tv": 1e-2,
            "blur": 10.0,
            "jitter": 4,
        },
    ),
    "uniform": _Entry(Uniform),
    "random": _Entry(Random),
    "centre": _Entry(Centre, {"sigma": 0.25}),
    "edges": _Entry(Edges),
    "fakecam": _Entry(FakeCAM),
    "maps": _Entry(Maps, {"dir": ""}),
}


def parse_methods(text: str) -> list[Method]:
    """The methods in a comma-separated list such as `rise:masks=1000:cells=8,gradcam`.

    Raises:
        SettingError: there is no such method, setting or value, or one method is there twice.
    """
    if len(text) > LONGEST:
        raise SettingError(
            f"The list of methods has {len(text):,} characters; at most {LONGEST:,} are read.",
            likely="Something else may have been given.",
            do="Write it as scorecam,rise:masks=1000.",
        )
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise SettingError("No methods were named.", do=f"There are {', '.join(METHODS)}.")
    methods: dict[tuple[str, tuple[tuple[str, Value], ...]], Method] = {}
    for name in names:
        kind, values = _parse(name)
        same = kind, tuple(values.items())
        if same in methods:
            first = methods[same].name
            raise SettingError(
                f"The method {quoted(name)} is there twice."
                if first == name
                else f"The methods {quoted(first)} and {quoted(name)} are the same.",
                do="Name it once.",
            )
        methods[same] = METHODS[kind].build(name, **values)
    return list(methods.values())


def methods_of(methods: str | Sequence[Method]) -> list[Method]:
    """The methods that a user means: by name, or as they are.

    Raises:
        SettingError: they are neither.
    """
    if isinstance(methods, str):
        return parse_methods(methods)
    return several("methods", methods, Method, 'Give names, such as "scorecam,gradcam".')


def heatmaps(
    model: Model, explanation: Explanation, methods: Sequence[Method]
) -> dict[str, Heatmap]:
    """What each method says of an explanation's image, target and layer, by the method's name.

    Raises:
        PhotoError: the explanation's image is not known: it was read from a bank.
    """
    image = explanation.image
    if image is None:
        raise PhotoError(
            "The image is not known, so other methods cannot explain it.",
            do="Explain the photo, not a saved bank.",
        )
    bank = explanation.bank
    case = Case(
        model,
        image,
        explanation.target.index,
        explanation.layer,
        ask=lambda: bank,
        listen=lambda: Scorer(model, image, head=bank.head),
        seed=bank.provenance.seed,
    )
    return {method.name: method.heatmap(case) for method in methods}


def _parse(name: str) -> tuple[str, dict[str, Value]]:
    """The kind of method that is meant, and the values of all its settings."""
    kind, *settings = name.split(":")
    if kind not in METHODS:
        raise SettingError(
            f"There is no method {quoted(kind)}.",
            likely=did_you_mean(kind, METHODS),
            do=f"There are {', '.join(METHODS)}.",
        )
    known = METHODS[kind].settings
    given: dict[str, Value] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in known:
            example = next(iter(known), None)
            raise SettingError(
                f"{kind} has no setting {quoted(setting)}.",
                likely=did_you_mean(key, known),
                do=f"Write it as {kind}:{example}=VALUE." if example else "It has none at all.",
            )
        if key in given:
            raise SettingError(f"{kind} has the setting {quoted(key)} twice.", do="Give it once.")
        given[key] = _value(kind, key, value, known[key])
    return kind, {**known, **given}


def _value(kind: str, key: str, text: str, default: Value) -> Value:
    """A setting's value, of the type of its default."""
    if isinstance(default, str):
        if len(text) > LONGEST_TEXT:
            raise SettingError(
                f"{kind}:{key} has {len(text):,} characters; at most {LONGEST_TEXT:,} are read.",
                do=f"The default is {kind}:{key}={default}.",
            )
        return text
    wanted = "a whole number" if isinstance(default, int) else "a number"
    value = parse_whole(text) if isinstance(default, int) else parse_real(text)
    if value is None:
        raise SettingError(
            f"{kind}:{key}={text:.60} is not {wanted}.",
            do=f"The default is {kind}:{key}={default}.",
        )
    return value
