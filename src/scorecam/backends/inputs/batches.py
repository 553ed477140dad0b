"""Networks that take batches of one size only."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from scorecam.shapes import Images


def full_batches(images: Images, size: int | None) -> Iterator[tuple[Images, int]]:
    """The images in batches of one size, and how many of each batch count.

    The last image is repeated to fill the last batch.

    Args:
        size: of each batch; None for all images at once.
    """
    if size is None:
        yield images, len(images)
        return
    for part in images.split(size):
        missing = size - len(part)
        if not missing:
            yield part, size
            continue
        yield torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]), len(part)


def batch_remark(size: int, what: str) -> str:
    """The remark about a network that takes batches of one size.

    Args:
        what: such a network is called, such as "program".
    """
    how = "one by one" if size == 1 else f"{size} at a time"
    return (
        f"The {what} was exported for batches of {size}, so images run {how}. A {what} that was "
        "exported with a dynamic batch is faster."
    )
