"""Methods by name: `scorecam`, `scorecam:variant=algorithm1`, `rise:masks=1000:cells=8`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from scorecam.base.wording import quoted
from scorecam.errors import SettingError, did_you_mean
from scorecam.explanation.explanation import Explanation
from scorecam.io.arguments import several
from scorecam.io.ranges import parse_real, parse_whole
from scorecam.methods import cams, controls, files, gradients, mask, rise, score_cam
from scorecam.methods.cases import case_of
from scorecam.methods.declared import DeclaredMethod, Value
from scorecam.methods.method import Method
from scorecam.model.model import Model
from scorecam.shapes import Heatmap

LONGEST = 10_000
"""The most characters of a list of methods."""

LONGEST_TEXT = 4096
"""The most characters of one setting's value; no path is longer."""


METHODS: dict[str, type[DeclaredMethod]] = {
    method.kind: method
    for file in (score_cam, gradients, cams, rise, mask, controls, files)
    for method in file.METHODS
}
"""By name. To add a method, add it to the `METHODS` of its file."""


def parse_methods(text: str) -> list[Method]:
    """The methods in a comma-separated list such as `rise:masks=1000:cells=8,gradcam`.

    Raises:
        SettingError: there is no such method, setting or value, or a method is listed twice.
    """
    if len(text) > LONGEST:
        raise SettingError(
            f"The list of methods has {len(text):,} characters; at most {LONGEST:,} are read.",
            likely="It may be the content of a file.",
            do="Write methods as in scorecam,rise:masks=1000.",
        )
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise SettingError("No method was given.", do=f"Choose from {', '.join(METHODS)}.")
    methods: dict[tuple[str, tuple[tuple[str, Value], ...]], Method] = {}
    for name in names:
        kind, values = _parse(name)
        identity = kind, tuple(values.items())
        if identity in methods:
            first = methods[identity].name
            raise SettingError(
                f"The method {quoted(name)} is listed twice."
                if first == name
                else f"The methods {quoted(first)} and {quoted(name)} are the same.",
                do="List it once.",
            )
        methods[identity] = METHODS[kind](name, **cast("Any", values))
    return list(methods.values())


def methods_of(methods: str | Sequence[Method]) -> list[Method]:
    """A user's methods, given by name or as `Method` objects.

    Raises:
        SettingError: they are neither.
    """
    if isinstance(methods, str):
        return parse_methods(methods)
    return several("methods", methods, Method, 'Give names, such as "scorecam,gradcam".')


def heatmaps(
    model: Model, explanation: Explanation, methods: Sequence[Method]
) -> dict[str, Heatmap]:
    """Each method's heatmap of an explanation's image, target and layer, by the method's name.

    Raises:
        PhotoError: the explanation has no image, because it was read from a bank.
    """
    case = case_of(model, explanation)
    return {method.name: method.heatmap(case) for method in methods}


def _parse(name: str) -> tuple[str, dict[str, Value]]:
    """The kind of method, and the values of all its settings."""
    kind, *settings = name.split(":")
    if kind not in METHODS:
        raise SettingError(
            f"There is no method {quoted(kind)}.",
            likely=did_you_mean(kind, METHODS),
            do=f"There are {', '.join(METHODS)}.",
        )
    known = METHODS[kind].defaults()
    given: dict[str, Value] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in known:
            example = next(iter(known), None)
            raise SettingError(
                f"{kind} has no setting {quoted(setting)}.",
                likely=did_you_mean(key, known),
                do=f"Write it as {kind}:{example}=VALUE." if example else "It takes no settings.",
            )
        if key in given:
            raise SettingError(f"{kind} has the setting {quoted(key)} twice.", do="Give it once.")
        given[key] = _value(kind, key, value, known[key])
    return kind, {**known, **given}


def _value(kind: str, key: str, text: str, default: Value) -> Value:
    """A setting's value, with the type of its default."""
    if isinstance(default, str):
        if len(text) > LONGEST_TEXT:
            raise SettingError(
                f"{kind}:{key} has {len(text):,} characters; at most {LONGEST_TEXT:,} are read.",
                do=f"The default is {kind}:{key}={default}.",
            )
        return text
    expected = "a whole number" if isinstance(default, int) else "a number"
    value = parse_whole(text) if isinstance(default, int) else parse_real(text)
    if value is None:
        raise SettingError(
            f"{kind}:{key}={text:.60} is not {expected}.",
            do=f"The default is {kind}:{key}={default}.",
        )
    return value
