"""The tensors of a score bank in its file: small, but precise enough for every map.

Maps and logits are float16. The file also has what float16 cannot hold: the power of two that the
maps were scaled by, and the largest logit of each mask, which is subtracted from the others.

Files are untrusted: unpacking raises `ValueError` for anything that packing cannot have written,
and takes no more memory than the file's size and the limits below allow.
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
"""Maps are scaled so that their largest number is about two to this power; float16 ends at 16."""

POWERS = range(LARGEST - 128, LARGEST + 150)
"""The powers of two that float32 numbers, from 2^-149 to 2^128, may need for this."""

MOST_CHANNELS = 65_536
"""The most channels of a bank in a file."""

MOST_COLUMNS = 1_000_000
"""The most columns of the model of a bank in a file."""

LONGEST_NAMES = 4 * 2**20
"""Bytes that the names may always have. Larger files may have more."""

BLOCK = 2**20
"""Numbers unpacked at a time."""

Tensors = dict[str, Tensor]


def pack_maps(activations: Activations, live: Tensor | None = None) -> Tensors:
    """Maps as float16, about three decimal digits, and the power of two they were scaled by.

    Args:
        live: channels that must not become flat. If float16 would make one of them flat, all maps
            stay float32.
    """
    finite = activations[activations.isfinite()].abs()
    high = float(finite.max()) if len(finite) else 0.0
    # A power of two belongs to the range below it: rounding up to it does not change the power.
    power = LARGEST - math.frexp(math.nextafter(high, 0.0))[1] if high > 0 else 0
    scaled = (activations.cpu().double() * 2.0**power).half()  # older ldexps overflow
    if live is not None and len(flat(scaled[live.cpu()])):
        return {"activations": activations.cpu().contiguous(), "power": torch.tensor(0)}
    return {"activations": scaled.contiguous(), "power": torch.tensor(power)}


def unpack_maps(tensors: Tensors) -> Activations:
    """The maps as float32.

    Raises:
        ValueError: the tensors are not packed maps.
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
    """The indices of maps that are constant or not finite, and so make no mask."""
    if not len(maps):
        return torch.zeros(0, dtype=torch.int64)
    low, high = maps.flatten(1).aminmax(dim=1)  # a NaN is the least and the largest
    return ((high <= low) | ~(low.isfinite() & high.isfinite())).nonzero()[:, 0]


def pack_scores(name: str, scores: Scores, *, logits: bool) -> Tensors:
    """Scores unchanged; or logits as float16 minus each row's largest, which stays float32.

    The largest is not rounded, so that packing unpacked rows gives the same result. If a finite
    logit would become infinite, all scores stay unchanged.
    """
    largest = scores.amax(dim=1)
    relative = (scores - largest[:, None]).half()
    overflowed = scores.isfinite().all(dim=1) & ~relative.isfinite().all(dim=1)
    if not logits or overflowed.any():
        return {name: scores.cpu().contiguous()}
    return {name: relative.cpu().contiguous(), f"{name}_max": largest.cpu().contiguous()}


def unpack_scores(name: str, tensors: Tensors) -> Scores:
    """The scores as float32.

    Raises:
        ValueError: the tensors are not packed scores.
    """
    if tensors[name].ndim != 2 or not 1 <= tensors[name].shape[1] <= MOST_COLUMNS:
        raise ValueError(f"its {name} are not rows of 1 to {MOST_COLUMNS:,} columns")
    if f"{name}_max" not in tensors:
        return _typed(tensors, name, torch.float32)
    largest = _typed(tensors, f"{name}_max", torch.float32)
    relative = _typed(tensors, name, torch.float16)
    if largest.shape != relative.shape[:1]:
        raise ValueError(f"its {name} do not fit their largest")
    if len(relative) and not _are_relative_to(largest, relative):
        raise ValueError(f"its {name} are not relative to their largest")
    return relative.float().add_(largest[:, None])


def _are_relative_to(largest: Tensor, relative: Tensor) -> bool:
    """Whether each row is a row minus its largest number."""
    top = relative.amax(dim=1)  # NaN if the row has one
    finite = largest.isfinite()
    all_lost = (relative.isnan() | (relative == -math.inf)).all(dim=1)
    return bool(torch.where(finite, top == 0, all_lost).all())


def pack_channels(channels: Tensor, count: int) -> Tensor:
    """Some of `count` channels as one bit per channel."""
    bits = np.zeros(count, dtype=bool)
    bits[channels.cpu().numpy()] = True
    return torch.from_numpy(np.packbits(bits))


def unpack_channels(packed: Tensor, count: int) -> Tensor:
    """The indices of the channels, ascending, int64.

    Raises:
        ValueError: they are not some of `count` channels.
    """
    if packed.dtype != torch.uint8 or packed.shape != ((count + 7) // 8,):
        raise ValueError("its lists of channels do not match its maps")
    bits = np.unpackbits(packed.numpy())
    if bits[count:].any():
        raise ValueError("its lists of channels have more channels than there are maps")
    return torch.from_numpy(bits.nonzero()[0])


def pack_text(names: Any) -> Tensor:
    """The names of the columns, or None, as compressed JSON."""
    text = json.dumps(names).encode()  # as ASCII: names may contain lone surrogates
    return torch.frombuffer(bytearray(zlib.compress(text, 9)), dtype=torch.uint8)


def unpack_text(
    packed: Tensor, columns: int = MOST_COLUMNS, longest: int = LONGEST_NAMES
) -> list[str] | None:
    """The names that `pack_text` was given.

    Args:
        columns: the most names.
        longest: the most bytes of their text.

    Raises:
        ValueError: the tensor is not packed names.
    """
    if packed.dtype != torch.uint8 or packed.ndim != 1:
        raise ValueError("its names are not packed")
    text = _decompressed(packed.numpy().tobytes(), longest)
    if text == b"null":
        return None
    # Anything but a flat list of strings could take much more memory than its JSON.
    if not _TEXTS.fullmatch(text):
        raise ValueError("its names are not a list of strings")
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


def pack_bits(masks: Tensor) -> Tensor:
    """Booleans, eight to a byte."""
    return torch.from_numpy(np.packbits(masks.cpu().numpy().reshape(-1)))


def unpack_bits(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The booleans of a file; they take eight times its bytes.

    Raises:
        ValueError: there are more or fewer than the shape has.
    """
    count = math.prod(shape)
    if packed.dtype != torch.uint8 or packed.ndim != 1 or len(packed) != -(-count // 8):
        raise ValueError("its regions do not fit its image and its columns")
    bits = np.unpackbits(packed.numpy())
    if bits[count:].any():
        raise ValueError("its regions have more pixels than its image")
    return torch.from_numpy(bits[:count].view(np.bool_)).reshape(shape)
