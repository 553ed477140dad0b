"""Texts as labels: their embeddings, and the temperature of their probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from scorecam.base.wording import excerpt, quoted
from scorecam.cam import Head
from scorecam.errors import SettingError
from scorecam.io.arguments import several
from scorecam.model.model import Model
from scorecam.model.text_tower import Tokenizer
from scorecam.tasks.similar.embedding import checked
from scorecam.tasks.similar.references import fixed_embedding

Texts = str | Sequence[str] | Mapping[str, Tensor]
"""One text, several, or their embeddings by text."""

HOW = "text= (--text) takes texts; in Python also a dict from text to embedding."


@dataclass(frozen=True)
class Labels:
    """What the texts are as columns.

    Args:
        directions: their embeddings of length 1, `n d`.
        scale, bias: a score is scale · cosine + bias.
        head: what the scores are.
        remark: what the user should know; empty for nothing.
    """

    directions: Tensor
    scale: float
    bias: float
    head: Head
    remark: str = ""


def check_texts(given: Any) -> Texts:
    """The user's texts, one or more, each of them different.

    Raises:
        SettingError: they are anything else.
    """
    if isinstance(given, str):
        given = (given,)
    if not isinstance(given, Mapping):
        given = tuple(several("text", given, str, HOW))
    texts = [text for text in cast("Sequence[Any]", given) if isinstance(text, str)]
    empty = len(texts) != len(cast("Sequence[Any]", given)) or not all(map(str.strip, texts))
    if not texts or empty:
        raise SettingError("text= (--text) has an empty entry, or none.", do=HOW)
    if len({text.casefold() for text in texts}) < len(texts):
        raise SettingError("text= (--text) has the same text twice.", do="Give each text once.")
    return cast("Texts", given)


def labels_of(
    texts: Texts, model: Model, tokenizer: Tokenizer | None, *, scale: float | None
) -> Labels:
    """The texts as columns. The text tower runs once.

    Args:
        texts: checked.
        tokenizer: the user's; None for the model's own.
        scale: the user's; None for the model's own.

    Raises:
        SettingError: the model cannot embed texts, or there is no tokenizer.
    """
    tower = model.text_tower()
    if isinstance(texts, Mapping):
        embeddings = torch.cat([_given(name, value) for name, value in texts.items()])
    elif tower is None:
        raise SettingError(
            f"{excerpt(model.spec)} has no text tower, so it cannot embed texts.",
            likely="It may be the image tower alone.",
            do="Open the whole CLIP or SigLIP, as hf:FOLDER or a network with get_text_features or "
            'encode_text. Or give the embeddings in Python: text={"a cat": tensor, ...}.',
        )
    else:
        embeddings = tower.embed(list(texts), tokenizer)
    names = list(texts)
    each = [checked(row[None], f"the text {quoted(names[i])}") for i, row in enumerate(embeddings)]
    directions = normalize(torch.cat(each), dim=1)
    scale = scale if scale is not None else tower.scale if tower else None
    if tower is not None and tower.bias is not None and scale is not None:
        return Labels(directions, scale, tower.bias, "sigmoid")
    if scale is None or len(directions) == 1:
        why = "the model's temperature is not known" if scale is None else "there is one text"
        remark = (
            f"The score is the cosine, as {why}: a probability needs "
            f"{'scale=' if scale is None else 'other texts to choose from'}."
        )
        return Labels(directions, scale=1.0, bias=0.0, head="value", remark=remark)
    return Labels(directions, scale, 0.0, "logits")


def _given(text: str, value: Any) -> Tensor:
    """An embedding that the user made, `1 d`."""
    found = fixed_embedding(value) if isinstance(value, Tensor | np.ndarray) else None
    if found is None:
        raise SettingError(
            f"The embedding of the text {quoted(text)} is not a tensor with one axis.", do=HOW
        )
    return found
