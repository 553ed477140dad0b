"""Where the embedding is in a model's output, and what its parts mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from scorecam.base.wording import quoted, reason
from scorecam.errors import TargetError
from scorecam.model.readout import Readout, entries_of, readout_for

Embeddings = Annotated[Tensor, "b d"]
"""One embedding per image, float32."""

KNOWN = ("image_embeds", "pooler_output", "last_hidden_state")
"""The names of embeddings in the outputs of transformers, in the order in which they are taken."""

SAY_WHICH = (
    "Say where the embedding is: embedding= (--embedding) takes an index or a name, such as "
    "'last_hidden_state[:, 0, :]'; in Python also a function of the output that returns b d."
)


@dataclass(frozen=True)
class Embedding:
    """Reads the embedding, `b d`, in a model's output.

    Args:
        place: what the user gave: an index, a name or a function; None to find it.
        axes: the number of the image's axes.
    """

    place: int | str | Readout | None
    axes: int

    def __call__(self, output: Any) -> Embeddings:
        """The embeddings.

        Raises:
            TargetError: the output has none, or it is unclear which part is the embedding.
        """
        _, found = self._found(output)
        if found.ndim == 2:
            return found.float()
        if found.ndim == 3 and self.axes != 1:
            return found.float().mean(1)
        if found.ndim == self.axes + 2:
            return found.float().flatten(2).mean(2)
        raise TargetError(
            f"The embedding has the shape {tuple(found.shape)}; b d is needed, tokens b n d, or "
            f"maps of {self.axes} axes.",
            likely="It may be one number per image, or another part of the output.",
            do=SAY_WHICH,
        )

    def remark(self, output: Any) -> str:
        """A sentence if the embedding is a mean over the image; empty otherwise."""
        name, found = self._found(output)
        where = f"the output's {quoted(name)}" if name else "the output"
        if found.ndim == 2:
            return ""
        if found.ndim == 3 and self.axes != 1:
            return (
                f"The embedding is the mean of all tokens in {where}; "
                f"embedding='{name}[:, 0, :]' (--embedding) takes a class token."
            )
        return f"The embedding is the mean over the positions of the maps in {where}."

    def _found(self, output: Any) -> tuple[str, Tensor]:
        """The name of the part, if it has one, and the part."""
        if self.place is None:
            return _find(output)
        try:
            found: Any = readout_for(self.place)(output)
        except TargetError as error:
            raise TargetError(error.what, likely=error.likely, do=SAY_WHICH) from error
        except Exception as error:
            raise TargetError(
                f"The embedding could not be read: {type(error).__name__}: {reason(error)}",
                likely=f"The output is a {type(output).__name__}, or the function has an error.",
                do=SAY_WHICH,
            ) from error
        if not isinstance(found, Tensor) or not found.is_floating_point():
            kind = found.dtype if isinstance(found, Tensor) else type(found).__name__
            raise TargetError(f"The embedding is of the type {kind}.", do=SAY_WHICH)
        return (self.place if isinstance(self.place, str) else ""), found


def _find(output: Any) -> tuple[str, Tensor]:
    """The part of an output that is the embedding, with its name.

    Raises:
        TargetError: it is unclear which part it is.
    """
    if isinstance(output, Tensor):
        return "", output
    parts = {
        key: entry
        for key, entry in entries_of(output).items()
        if isinstance(entry, Tensor) and entry.is_floating_point() and entry.ndim > 1
    }
    for name in KNOWN:
        if name in parts:
            return name, parts[name]
    matrices = [key for key, entry in parts.items() if entry.ndim == 2]
    chosen = matrices or list(parts)
    if len(chosen) == 1:
        return str(chosen[0]), parts[chosen[0]]
    shapes = ", ".join(f"{quoted(key)}: {tuple(entry.shape)}" for key, entry in parts.items())
    raise TargetError(
        f"The model's output is a {type(output).__name__} and its embedding could not be "
        f"identified ({shapes or 'it holds none'}).",
        do=SAY_WHICH,
    )


def checked(embedding: Embeddings, whose: str) -> Embeddings:
    """An embedding whose direction is known.

    Args:
        whose: for the error, such as "the image".

    Raises:
        TargetError: it is not finite, or has no length.
    """
    if not embedding.isfinite().all():
        problem, likely = "holds NaN or infinity", "The model may overflow, or the input be damaged"
    elif not embedding.norm():
        problem, likely = "has the length 0, so it has no direction", "The network may be untrained"
    else:
        return embedding
    raise TargetError(
        f"The embedding of {whose} {problem}.",
        likely=f"{likely}, or another part of the output is meant.",
        do=f"Check model(x). {SAY_WHICH}",
    )


@dataclass(frozen=True, eq=False)
class Cosines:
    """The readout: the cosine of each image's embedding to fixed directions, `b n`.

    Under a mask that hides everything, an embedding may have the length 0: its cosines are 0.

    Args:
        embedding: reads the embedding in the output.
        directions: of length 1, `n d` float32.
        scale, bias: the scores are scale · cosine + bias.
    """

    embedding: Embedding
    directions: Tensor
    scale: float = 1.0
    bias: float = 0.0

    @property
    def trace_key(self) -> object:
        """Equal for readouts of the same embedding; see `TaskColumns`."""
        return "similar", self.embedding

    def __call__(self, output: Any) -> Tensor:
        found = torch.nn.functional.normalize(self.embedding(output), dim=1)
        cosines = found @ self.directions.to(found.device, found.dtype).T
        return cosines * self.scale + self.bias
