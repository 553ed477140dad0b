"""Models that embed texts in the space of their images, as CLIP and SigLIP do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from torch import Tensor

from scorecam.cam import Head

Tokenizer = Callable[[list[str]], Any]
"""Texts → token ids, `n t`, or a mapping with such tensors by the names of the text tower's inputs.

A tokenizer of transformers is called with the padding that the model was trained with.
"""

TextEmbeddings = Annotated[Tensor, "n d"]
"""One embedding per text, float32."""


@dataclass(frozen=True)
class TextTower:
    """What a model needs to score texts.

    Args:
        embed: texts and the user's tokenizer → their embeddings. Without a tokenizer, the model's
            own is used.
        scale, bias: a text's logit is scale · cosine + bias. Without a bias, the probabilities
            are a softmax over the texts; with one, each has its own.
    """

    embed: Callable[[Sequence[str], Tokenizer | None], TextEmbeddings]
    scale: float
    bias: float | None = None

    @property
    def head(self) -> Head:
        """What the logits are."""
        return "logits" if self.bias is None else "sigmoid"
