"""References: what an image is compared with, as users give it, and its embedding."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from scorecam.base.wording import excerpt, quoted, reason
from scorecam.errors import SettingError, TargetError
from scorecam.io.arguments import several, tensor
from scorecam.model.inputs import check_batch
from scorecam.model.model import Model
from scorecam.tasks.similar.embedding import SAY_WHICH, Embedding, Embeddings, checked

Reference = str | os.PathLike[str] | Image.Image | np.ndarray[Any, Any] | Tensor
"""A photo; an input of the model, `c *i`; or an embedding, `d`."""

References = Reference | Sequence[Reference] | Mapping[str, Reference | Sequence[Reference]]
"""One reference, several, or several by name. Several of one name are averaged."""

KINDS = (str, os.PathLike, Image.Image, np.ndarray, Tensor)

WHAT = (
    "A reference is a photo (a path, a PIL image or an array), a preprocessed tensor c *i, or an "
    "embedding (a tensor with one axis): reference= (--reference)."
)


@dataclass(frozen=True)
class Group:
    """The references of one column.

    Args:
        name: of the column.
        members: their embeddings are averaged.
    """

    name: str
    members: tuple[Reference, ...]


def groups_of(
    given: References | None, names: Sequence[str] | None, *, average: bool
) -> list[Group]:
    """The references, one group for each column, with names that are all different.

    Args:
        given: as the user has them.
        names: one per column, if the user gave any.
        average: whether several references are one column.

    Raises:
        SettingError: there are none, or they do not fit the names.
    """
    if isinstance(given, Mapping):
        named = cast("Mapping[str, Any]", given)
        groups = [Group(str(name), _members(members)) for name, members in named.items()]
    else:
        members = _members(given)
        together = average and len(members) > 1
        each = [members] if together else [(member,) for member in members]
        groups = [Group(_stem(some), some) for some in each]
    if not groups:
        raise SettingError("reference= (--reference) is empty.", do=WHAT)
    if names is not None:
        names = several("names", names, str, "Give one name per reference.")
        if len(names) != len(groups):
            raise SettingError(
                f"names= has {len(names)} names, and there are {len(groups)} columns.",
                do="Give one name per reference; references that are averaged have one name.",
            )
        groups = [Group(name, group.members) for name, group in zip(names, groups, strict=True)]
    unique = different([group.name for group in groups])
    return [Group(name, group.members) for name, group in zip(unique, groups, strict=True)]


def _members(given: Any) -> tuple[Reference, ...]:
    if isinstance(given, KINDS):
        return (given,)
    members = several("reference", given, KINDS, WHAT)
    if not members:
        raise SettingError("reference= (--reference) has an entry without references.", do=WHAT)
    return tuple(members)


def _stem(members: Sequence[Reference]) -> str:
    if len(members) > 1:
        return f"mean of {len(members)} references"
    source = members[0]
    if isinstance(source, Image.Image):
        source = cast("str", getattr(source, "filename", ""))
    stem = Path(source).stem if isinstance(source, str | os.PathLike) else ""
    return stem or "reference"


def different(names: Sequence[str]) -> list[str]:
    """The names, with a number where one is there already: cat, cat (2)."""
    counts, taken, found = Counter[str](), set(names), list[str]()
    for name in names:
        counts[name] += 1
        unique = name
        while counts[name] > 1 and unique in taken:
            unique = f"{name} ({counts[name]})"
            counts[name] += unique in taken
        taken.add(unique)
        found.append(unique)
    return found


def direction_of(group: Group, model: Model, embedding: Embedding) -> tuple[Embeddings, int]:
    """The direction of a group's embeddings, `1 d` of length 1, and the images it took.

    Several embeddings are brought to length 1, and then averaged.
    """
    found, passes = list[Tensor](), 0
    for member in group.members:
        own = fixed_embedding(member)
        passes += own is None
        vector = embedding_of(image_of(member, model), model, embedding) if own is None else own
        found.append(normalize(checked(vector, f"the reference {quoted(group.name)}"), dim=1))
    lengths = sorted({vector.shape[1] for vector in found})
    if len(lengths) > 1:
        raise SettingError(
            f"The embeddings of the reference {quoted(group.name)} have {lengths} numbers.",
            do="Make all of them with the model that you explain.",
        )
    mean = torch.cat(found).mean(0, keepdim=True)
    return normalize(checked(mean, f"the mean of {quoted(group.name)}"), dim=1), passes


def fixed_embedding(reference: Reference) -> Embeddings | None:
    """A reference that is an embedding, `1 d` float32; None if it is an image."""
    if not isinstance(reference, Tensor | np.ndarray) or reference.ndim != 1:
        return None
    try:
        vector = torch.as_tensor(reference).detach()
    except (TypeError, ValueError) as error:  # an array of texts or objects
        raise SettingError(f"A reference holds no numbers: {reason(error)}", do=WHAT) from error
    if vector.is_complex() or vector.dtype == torch.bool or not vector.numel():
        raise SettingError(
            f"A reference has the type {vector.dtype} and the shape {tuple(vector.shape)}.", do=WHAT
        )
    return tensor(vector, "A reference").to("cpu", torch.float32)[None]


def image_of(reference: Reference, model: Model) -> Tensor:
    """The model's input for a reference, `1 c *i`."""
    if not isinstance(reference, Tensor):
        return model.read(reference).image[None]
    image = tensor(reference, "A reference")
    image = image[None] if image.ndim == model.axes + 1 else image
    if image.ndim == 0 or len(image) != 1:
        raise SettingError(f"A reference has the shape {tuple(reference.shape)}.", do=WHAT)
    return check_batch(image, model)


def embedding_of(image: Tensor, model: Model, embedding: Embedding) -> Embeddings:
    """The embedding of one image, `1 d` on the CPU."""
    return embedding(model.output(image))[:1].detach().cpu()


def check_length(directions: Tensor, own: Embeddings) -> None:
    """Refuse references or texts from another space.

    Raises:
        TargetError: they have another number of entries than the image's embedding.
    """
    if directions.shape[1] != own.shape[1]:
        raise TargetError(
            f"The embedding of the image has {own.shape[1]} numbers, and the one to compare with "
            f"has {directions.shape[1]}.",
            likely="It may come from another model, or lack the projection to the common space.",
            do=excerpt(f"Make both with the same model. {SAY_WHICH}", 320),
        )
