"""How a score bank lies in its file: small, and with nothing lost that a heatmap needs.

A safetensors file of float16 maps and logits. What float16 cannot hold is kept beside it: the maps'
power of two, and the largest logit of each mask, which the others are counted from.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from scorecam.errors import BankError
from scorecam.files import replacing
from scorecam.shapes import Activations, Scores

LARGEST = 14
"""Maps are scaled so that their largest number is about two to this power: float16 ends at 16."""

Tensors = dict[str, Tensor]


def pack_maps(activations: Activations) -> Tensors:
    """Maps as float16 and the power of two they were scaled by; about three decimal digits."""
    finite = activations[activations.isfinite()].abs()
    high = float(finite.max()) if len(finite) else 0.0
    # A power of two counts as the end of its range: what rounds up to one keeps its power.
    power = LARGEST - math.frexp(math.nextafter(high, 0.0))[1] if high > 0 else 0
    scaled = activations.cpu().double() * 2.0**power  # older ldexps overflow
    return {"activations": scaled.half().contiguous(), "power": torch.tensor(power)}


def unpack_maps(tensors: Tensors) -> Activations:
    """The maps as float32."""
    scaled = _typed(tensors, "activations", torch.float16).double()
    return (scaled * 2.0 ** -int(_typed(tensors, "power", torch.int64))).float()


def pack_scores(name: str, scores: Scores, *, logits: bool) -> Tensors:
    """Scores as they are, or logits as float16 less each row's largest, and that in float32.

    The largest is not rounded, so that rows which come back are packed the same again. Where that
    would make infinity of a finite logit, all stay as they are.
    """
    largest = scores.amax(dim=1)
    less = (scores - largest[:, None]).half()
    overflown = scores.isfinite().all(dim=1) & ~less.isfinite().all(dim=1)
    if not logits or overflown.any():
        return {name: scores.cpu().contiguous()}
    return {name: less.cpu().contiguous(), f"{name}_max": largest.cpu().contiguous()}


def unpack_scores(name: str, tensors: Tensors) -> Scores:
    """The scores as float32."""
    if f"{name}_max" not in tensors:
        return _typed(tensors, name, torch.float32)
    largest = _typed(tensors, f"{name}_max", torch.float32)
    less = _typed(tensors, name, torch.float16)
    if largest.shape != less.shape[:1]:
        raise ValueError(f"its {name} do not fit their largest")
    return less.float() + largest[:, None]


def pack_channels(channels: Tensor, count: int) -> Tensor:
    """Some of `count` channels, in order, as one bit each."""
    bits = np.zeros(count, dtype=bool)
    bits[channels.cpu().numpy()] = True
    return torch.from_numpy(np.packbits(bits))


def unpack_channels(packed: Tensor, count: int) -> Tensor:
    """The channels' numbers, ascending, int64."""
    if packed.dtype != torch.uint8 or len(packed) != (count + 7) // 8:
        raise ValueError("its lists of channels do not fit its maps")
    bits = np.unpackbits(packed.numpy())[:count]
    return torch.from_numpy(bits.nonzero()[0])


def pack_text(value: Any) -> Tensor:
    """Plain values as compressed JSON."""
    text = json.dumps(value).encode()  # ASCII: names may hold what UTF-8 has no bytes for
    return torch.frombuffer(bytearray(zlib.compress(text, 9)), dtype=torch.uint8)


def unpack_text(packed: Tensor) -> Any:
    """The values that `pack_text` was given.

    Raises:
        ValueError: there are none in it.
    """
    try:
        return json.loads(zlib.decompress(packed.numpy().tobytes()))
    except zlib.error as error:
        raise ValueError(f"its names cannot be unpacked ({error})") from error


def write(path: str | os.PathLike[str], tensors: Tensors, record: dict[str, Any]) -> None:
    """Write one file, in one step; one of that name is replaced.

    Raises:
        OutputError: it cannot be written.
    """
    with replacing(path) as temporary:
        try:
            safetensors.torch.save_file(tensors, temporary, {"scorecam": json.dumps(record)})
        except safetensors.SafetensorError as error:  # its word for a full disk, among others
            raise OSError(str(error)) from error


def read(path: str | os.PathLike[str]) -> tuple[Any, Tensors]:
    """The record and tensors of a file; the record is None where it has none.

    Raises:
        BankError: it is missing or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            record = json.loads((file.metadata() or {}).get("scorecam", "null"))
            return record, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise BankError(f"There is no file {path}.", do="Check the path.") from error
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError) as error:
        raise BankError(
            f"{path} cannot be read as a score bank: {error}.",
            likely="It may be cut short, or another kind of file.",
            do="Give a .safetensors file that `scorecam explain` or ScoreBank.save wrote.",
        ) from error


def _typed(tensors: Tensors, name: str, dtype: torch.dtype) -> Tensor:
    if tensors[name].dtype != dtype:
        raise ValueError(f"its {name} are {tensors[name].dtype}")
    return tensors[name]
