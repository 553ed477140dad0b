"""Methods by name: `scorecam`, `scorecam:variant=algorithm1`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scorecam.asking import Scorer
from scorecam.cam import Variant, find_variant
from scorecam.errors import PhotoError, SettingError, did_you_mean
from scorecam.explanation import Explanation
from scorecam.method import Case, Method
from scorecam.model import Model
from scorecam.shapes import Heatmap


@dataclass(frozen=True)
class ScoreCAMMethod(Method):
    """Score-CAM in one of its variants, read from the case's bank."""

    name: str
    variant: Variant
    settings: Mapping[str, object]
    source: str = "Wang et al., Score-CAM, CVPR workshops 2020"

    def heatmap(self, case: Case) -> Heatmap:
        return case.bank.heatmap(case.target, self.variant)


def _scorecam(name: str, settings: Mapping[str, str]) -> Method:
    variant = find_variant(settings.get("variant", "official"))
    return ScoreCAMMethod(name, variant, {"variant": variant.name, "formula": variant.formula})


@dataclass(frozen=True)
class _Entry:
    """How a method is built, and the settings it has."""

    build: Callable[[str, Mapping[str, str]], Method]
    settings: tuple[str, ...]


METHODS: dict[str, _Entry] = {"scorecam": _Entry(_scorecam, ("variant",))}


def parse_methods(text: str) -> list[Method]:
    """The methods in a comma-separated list such as `scorecam,scorecam:variant=algorithm1`.

    Raises:
        SettingError: there is no such method, setting or value.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise SettingError("No methods were named.", do=f"There are {', '.join(METHODS)}.")
    return [_parse(name) for name in names]


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


def _parse(name: str) -> Method:
    kind, *settings = name.split(":")
    if kind not in METHODS:
        raise SettingError(
            f"There is no method {kind!r}.",
            likely=did_you_mean(kind, METHODS),
            do=f"There are {', '.join(METHODS)}.",
        )
    entry = METHODS[kind]
    values: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in entry.settings:
            raise SettingError(
                f"{kind} has no setting {setting!r}.",
                likely=did_you_mean(key, entry.settings),
                do=f"Write it as {kind}:{entry.settings[0]}=VALUE.",
            )
        values[key] = value
    return entry.build(name, values)
