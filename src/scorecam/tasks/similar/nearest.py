"""The nearest images of a gallery, to be explained as references."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from scorecam.base.wording import constructor, excerpt, quoted
from scorecam.errors import SettingError
from scorecam.io.arguments import instance, path
from scorecam.io.ranges import COUNT
from scorecam.model.inputs import one_image
from scorecam.model.model import Model
from scorecam.model.readout import Readout
from scorecam.tasks.similar.embedding import checked
from scorecam.tasks.similar.references import (
    Reference,
    References,
    check_length,
    direction_of,
    embedding_of,
    groups_of,
    image_of,
)
from scorecam.tasks.similar.task import embedding_in

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""The endings of the files of a gallery."""

MOST = 100_000
"""The most files of a gallery."""


@dataclass(frozen=True, eq=False)
class Neighbour:
    """An image of a gallery.

    Args:
        name: of its file, or of the entry.
        cosine: of its embedding to the image's.
        reference: what the gallery holds, to be given to `Similar(reference=...)`.
    """

    name: str
    cosine: float
    reference: Reference | Sequence[Reference]

    __repr__ = constructor


def nearest(
    model: Model,
    image: Reference,
    gallery: str | os.PathLike[str] | References,
    k: int = 5,
    *,
    embedding: int | str | Readout | None = None,
) -> list[Neighbour]:
    """The images of a gallery whose embeddings are nearest to that of an image.

    Every image is one pass of the model.

    Args:
        model: from `open_model`.
        image: a photo or a preprocessed tensor.
        gallery: a folder of photos; or photos, tensors or embeddings, in a list or by name.
        k: how many, at most.
        embedding: where the embedding is in the output, see `Similar`.

    Returns:
        The nearest first.

    Raises:
        SettingError: the gallery is empty or is no gallery.
        PhotoError: a photo cannot be read.
        TargetError: there is no embedding in the output.
    """
    model = instance("model", model, Model, "Give a model from scorecam.open_model.")
    count = COUNT.check("k", k)
    inputs, model = one_image(image_of(image, model), model)
    read = embedding_in(model, embedding)
    own = torch.nn.functional.normalize(
        checked(embedding_of(inputs, model, read), "the image"), dim=1
    )
    found = list[Neighbour]()
    for group in groups_of(_entries(gallery), None, average=False):
        direction, _ = direction_of(group, model, read)
        check_length(direction, own)
        members = group.members
        one = members[0] if len(members) == 1 else members
        found.append(Neighbour(group.name, float((own @ direction.T)[0, 0]), one))
    return sorted(found, key=lambda neighbour: -neighbour.cosine)[:count]


def _entries(gallery: Any) -> References:
    """The references in a gallery; the photos of a folder by their names."""
    if not isinstance(gallery, str | os.PathLike):
        if isinstance(gallery, Mapping | Sequence):
            return cast("References", gallery)
        raise SettingError(
            f"The gallery is {quoted(gallery)}.",
            do="Give a folder of photos, or a list or a dict of photos, tensors or embeddings.",
        )
    folder = Path(path("gallery", gallery))
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in PHOTOS)
    except OSError as error:
        raise SettingError(
            f"The gallery {excerpt(folder, 200)} cannot be read: {error.strerror}.",
            do="Give a folder of photos.",
        ) from error
    if not files or len(files) > MOST:
        raise SettingError(
            f"The folder {excerpt(folder, 200)} has {len(files):,} photos.",
            likely="Photos in subfolders are not searched." if not files else "",
            do=f"Give a folder with 1 to {MOST:,} photos ({', '.join(PHOTOS)}).",
        )
    return files
