"""The tensors of a score bank as its file holds them: small, with nothing lost that a map needs.

Maps and logits are float16. What float16 cannot hold is kept beside them: the maps' power of two,
and the largest logit of each mask, which the others are counted from.

What is unpacked comes from a foreign file: whatever `pack_…` cannot have written is a `ValueError`,
and nothing here takes more memory than the file and the limits below allow.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scorecam.shapes import Activations, Scores

LARGEST = 14
"""Maps are scaled so that their largest number is about two to this power: float16 ends at 16."""

POWERS = range(LARGEST - 128, LARGEST + 150)
"""What float32 numbers can be scaled by for that: they end at 2^128 and begin at 2^-149."""

MOST_CHANNELS = 65_536
"""Channels of a bank in a file."""

MOST_COLUMNS = 1_000_000
"""Columns of the model that a bank in a file is about."""

LONGEST_NAMES = 4 * 2**20
"""Bytes that the text of the names may have in any case. Long files may have longer names."""

BLOCK = 2**20
"""Numbers that are unpacked at a time."""

Tensors = dict[str, Tensor]


def pack_maps(activations: Activations, live: Tensor | None = None) -> Tensors:
    """Maps as float16 and the power of two they were scaled by; about three decimal digits.

    Args:
        live: channels that have to stay live. Where float16 would make one of them flat, all maps
            are kept in float32.
    """
    finite = activations[activations.isfinite()].abs()
    high = float(finite.max()) if len(finite) else 0.0
    # A power of two counts as the end of its range: what rounds up to one keeps its power.
    power = LARGEST - math.frexp(math.nextafter(high, 0.0))[1] if high > 0 else 0
    scaled = (activations.cpu().double() * 2.0**power).half()  # older ldexps overflow
    if live is not None and len(flat(scaled[live.cpu()])):
        return {"activations": activations.cpu().contiguous(), "power": torch.tensor(0)}
    return {"activations": scaled.contiguous(), "power": torch.tensor(power)}


def unpack_maps(tensors: Tensors) -> Activations:
    """The maps as float32.

    Raises:
        ValueError: there are none.
    """
    packed, power = tensors["activations"], _typed(tensors, "power", torch.int64)
    if packed.ndim < 2 or not 0 < len(packed) <= MOST_CHANNELS or 0 in packed.shape:
        raise ValueError(f"its maps are not 1 to {MOST_CHANNELS:,} maps of at least one cell")
    if power.ndim != 0 or int(power) not in POWERS:
        raise ValueError("its maps are scaled by a number that float32 does not need")
    if packed.dtype == torch.float32 and int(power) == 0:
        return packed
    maps = torch.empty(packed.shape, dtype=torch.float32)
    factor, most = 2.0 ** -int(power), torch.finfo(torch.float32).max
    scaled = _typed(tensors, "activations", torch.float16).reshape(-1)
    for start in range(0, len(scaled), BLOCK):
        exact = scaled[start : start + BLOCK].double() * factor
        # The largest float32 number rounds up to 2^128 in float16.
        clamped = torch.where(exact.isfinite(), exact.clamp(-most, most), exact)
        maps.view(-1)[start : start + BLOCK] = clamped.float()
    return maps


def flat(maps: Activations) -> Tensor:
    """The maps, by number, that are the same everywhere or not finite: they make no mask."""
    if not len(maps):
        return torch.zeros(0, dtype=torch.int64)
    low, high = maps.flatten(1).aminmax(dim=1)  # a NaN is the least and the largest
    return ((high <= low) | ~(low.isfinite() & high.isfinite())).nonzero()[:, 0]


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
    """The scores as float32.

    Raises:
        ValueError: there are none.
    """
    if tensors[name].ndim != 2 or not 1 <= tensors[name].shape[1] <= MOST_COLUMNS:
        raise ValueError(f"its {name} are not rows of 1 to {MOST_COLUMNS:,} columns")
    if f"{name}_max" not in tensors:
        return _typed(tensors, name, torch.float32)
    largest = _typed(tensors, f"{name}_max", torch.float32)
    less = _typed(tensors, name, torch.float16)
    if largest.shape != less.shape[:1]:
        raise ValueError(f"its {name} do not fit their largest")
    if len(less) and not _counted_from(largest, less):
        raise ValueError(f"its {name} are not counted from their largest")
    return less.float().add_(largest[:, None])


def _counted_from(largest: Tensor, less: Tensor) -> bool:
    """Whether each row is what a row less its largest number is."""
    top = less.amax(dim=1)  # NaN where there is one
    answered = largest.isfinite()
    lost = (less.isnan() | (less == -math.inf)).all(dim=1)
    return bool(torch.where(answered, top == 0, lost).all())


def pack_channels(channels: Tensor, count: int) -> Tensor:
    """Some of `count` channels, in order, as one bit each."""
    bits = np.zeros(count, dtype=bool)
    bits[channels.cpu().numpy()] = True
    return torch.from_numpy(np.packbits(bits))


def unpack_channels(packed: Tensor, count: int) -> Tensor:
    """The channels' numbers, ascending, int64.

    Raises:
        ValueError: they are not some of `count` channels.
    """
    if packed.dtype != torch.uint8 or packed.shape != ((count + 7) // 8,):
        raise ValueError("its lists of channels do not fit its maps")
    bits = np.unpackbits(packed.numpy())
    if bits[count:].any():
        raise ValueError("its lists of channels name more channels than there are maps")
    return torch.from_numpy(bits.nonzero()[0])


def pack_text(names: Any) -> Tensor:
    """The names of the columns, or None, as compressed JSON."""
    text = json.dumps(names).encode()  # ASCII: names may hold what UTF-8 has no bytes for
    return torch.frombuffer(bytearray(zlib.compress(text, 9)), dtype=torch.uint8)


def unpack_text(
    packed: Tensor, columns: int = MOST_COLUMNS, longest: int = LONGEST_NAMES
) -> list[str] | None:
    """The names that `pack_text` was given.

    Args:
        columns: how many there may be.
        longest: how many bytes their text may have.

    Raises:
        ValueError: there are none in it.
    """
    if packed.dtype != torch.uint8 or packed.ndim != 1:
        raise ValueError("its names are not packed")
    text = _decompressed(packed.numpy().tobytes(), longest)
    if text == b"null":
        return None
    # What is no flat list of texts, or too long a one, could take much more memory than its text.
    if not _TEXTS.fullmatch(text):
        raise ValueError("its names are not a list of texts")
    if any(count >= columns for count, _ in enumerate(_TEXT.finditer(text))):
        raise ValueError(f"it has more than {columns:,} names")
    return json.loads(text)


_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_TEXTS = re.compile(
    rb"\s*+\[\s*+(?:%s\s*+(?:,\s*+%s\s*+)*+)?\]\s*+" % (_TEXT.pattern, _TEXT.pattern), re.DOTALL
)


def _decompressed(packed: bytes, longest: int) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(packed, longest)
    except zlib.error as error:
        raise ValueError(f"its names cannot be unpacked ({error})") from error
    if not unpacker.eof:
        if len(text) >= longest:
            raise ValueError(f"its names have more than {longest:,} bytes")
        raise ValueError("its names are cut short")
    return text


def _typed(tensors: Tensors, name: str, dtype: torch.dtype) -> Tensor:
    if tensors[name].dtype != dtype:
        raise ValueError(f"its {name} are {tensors[name].dtype}")
    return tensors[name]
