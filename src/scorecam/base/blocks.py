"""Large tensors a block at a time, so that temporary copies stay small."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from torch import Tensor

BLOCK = 2**22
"""Numbers in a block, 16 MiB of float32."""


def blocks(rows: Tensor) -> Sequence[Tensor]:
    """The tensor in parts along its first axis, with about `BLOCK` numbers each."""
    each = rows[:1].numel()
    return rows.split(max(1, BLOCK // max(1, each)))


def chosen(rows: Tensor, places: Tensor) -> Tensor:
    """The rows at these places, which are in order and differ; no copy if these are all rows."""
    return rows if len(places) == len(rows) else rows[places]


def equal_rows(parts: Iterable[Tensor]) -> tuple[list[int], list[int]]:
    """The first of all equal rows, and for every row the place of its equal in that list.

    Args:
        parts: some rows each, `n m` float32. Only a digest of each row is kept.
    """
    places: dict[bytes, int] = {}
    inverse: list[int] = []
    first: list[int] = []
    for part in parts:
        for row in part.cpu().numpy():
            digest = hashlib.blake2b(row.tobytes(), digest_size=32).digest()
            place = places.setdefault(digest, len(places))
            if place == len(first):
                first.append(len(inverse))
            inverse.append(place)
    return first, inverse
