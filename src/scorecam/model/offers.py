"""Whether a model offers the runtime and the precision that a user chose."""

from __future__ import annotations

from collections.abc import Sequence

from scorecam.base.wording import excerpt, quoted
from scorecam.errors import SettingError, did_you_mean
from scorecam.model.engine import USUAL_PRECISION, Speed
from scorecam.model.model import Model


def check_offered(model: Model, speed: Speed) -> None:
    """Refuse a runtime or a precision that the model does not offer.

    Raises:
        SettingError: it does not offer one of them.
    """
    _check(model, "runtime", speed.runtime, model.runtimes)
    if not (isinstance(speed.precision, str) and speed.precision == USUAL_PRECISION):
        _check(model, "precision", speed.precision, model.precisions)


def unconverted(model: Model) -> Speed:
    """The model itself, in its own precision."""
    return Speed(model.runtimes[0])


def _check(model: Model, name: str, value: object, offered: Sequence[str]) -> None:
    known = list(dict.fromkeys(["auto", *offered]))
    if not (isinstance(value, str) and value in known):
        raise SettingError(
            f"{excerpt(model.spec)} offers no {name} {quoted(value)}.",
            likely=did_you_mean(value, known),
            do=f"With {name}= (--{name}), give {', '.join(known[:-1])} or {known[-1]}.",
        )
