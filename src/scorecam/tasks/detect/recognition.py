"""Which decoder fits a detector's output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor

from scorecam.base.wording import quoted
from scorecam.errors import SettingError, TargetError, did_you_mean
from scorecam.tasks.detect.decoder import Decoder, KnownForm, RawOutput
from scorecam.tasks.detect.decoders.end_to_end import EndToEnd
from scorecam.tasks.detect.decoders.function import DecodeFunction, OwnFunction
from scorecam.tasks.detect.decoders.lists import Lists
from scorecam.tasks.detect.decoders.pairs import Boxes, Detr, RtDetr
from scorecam.tasks.detect.decoders.picodet import PicoDet
from scorecam.tasks.detect.decoders.suppressed import Suppressed
from scorecam.tasks.detect.decoders.yolo import Yolo, YoloV5

DECODERS: dict[str, type[KnownForm]] = {
    decoder.name: decoder
    for decoder in (Yolo, YoloV5, EndToEnd, Detr, RtDetr, Lists, PicoDet, Boxes, Suppressed)
}
"""Every form of output by name. To add one, write its file and add it here."""


def check_decode(decode: Any) -> str | DecodeFunction | None:
    """The name of a decoder, a function, or None.

    Raises:
        SettingError: there is no such decoder.
    """
    if decode is None or callable(decode) or (isinstance(decode, str) and decode in DECODERS):
        return cast("str | DecodeFunction | None", decode)
    raise SettingError(
        f"decode={quoted(decode)} (--decode) is not a form of output.",
        likely=did_you_mean(decode, DECODERS) if isinstance(decode, str) else "",
        do=f"Give {', '.join(DECODERS)}; or, in Python, a function from the output to boxes and "
        "probabilities.",
    )


def decoder_for(raw: RawOutput, decode: str | DecodeFunction | None) -> Decoder:
    """The decoder of an output.

    Args:
        raw: the output for the unmasked image.
        decode: as the user says; None to recognise it.

    Raises:
        TargetError: no decoder fits, or several do.
    """
    check_no_loss(raw)
    if isinstance(decode, str):
        return DECODERS[decode].of(raw)
    if decode is not None:
        return OwnFunction(decode)
    fitting = [decoder for decoder in DECODERS.values() if decoder.fits(raw)]
    if len(fitting) == 1:
        return fitting[0].of(raw)
    names = " and ".join(decoder.name for decoder in fitting)
    raise TargetError(
        f"The output, {raw.described}, "
        + (f"fits {names}." if fitting else "is not that of a known detector."),
        likely=""
        if fitting
        else "The network may not be a detector, or its boxes are computed outside it.",
        do=f"Give decode= (--decode): {', '.join(DECODERS)}; or, in Python, a function from the "
        "output to boxes and probabilities.",
    )


def check_no_loss(raw: RawOutput) -> None:
    """Refuse the losses that detectors return in training mode.

    Raises:
        TargetError: the output is a dict of single numbers.
    """
    if not isinstance(raw.output, Mapping) or not raw.output:
        return
    entries = cast("Mapping[Any, Any]", raw.output)
    numbers = all(isinstance(value, Tensor) and value.ndim == 0 for value in entries.values())
    if numbers and any("loss" in str(key).lower() for key in entries):
        raise TargetError(
            f"The detector returned its training losses: {', '.join(map(str, entries))}.",
            likely="It is in training mode, or its forward always computes them.",
            do="Return the boxes in evaluation mode, net.eval(), without targets.",
        )


def stated(decoder: Decoder) -> str:
    """What was recognised, as a remark."""
    if not isinstance(decoder, KnownForm):
        return f"The output is decoded by {decoder.found}."
    return (
        f"The output is decoded as {decoder.name}, with {decoder.found}. If that is wrong, give "
        "decode= (--decode)."
    )
