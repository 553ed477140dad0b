"""The log-probabilities of the tokens of an answer, in a model's output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from scorecam.base.wording import quoted
from scorecam.errors import TargetError
from scorecam.model.readout import entries_of
from scorecam.shapes import BatchedScores

Logits = Annotated[Tensor, "b l v"]
"""One row over the vocabulary for each position of the text."""


@dataclass(frozen=True)
class LogProbabilities:
    """The readout: sums of log-probabilities of tokens, each under the tokens before it.

    The last rows of the logits are those of the answer.

    Args:
        tokens: which tokens are read: the position in the answer, and the token's id.
        sums: for each column, the entries of `tokens` that it adds.
        positions: of the answer.
        rows: of the logits of the unmasked image; None if not known yet.
    """

    tokens: tuple[tuple[int, int], ...]
    sums: tuple[tuple[int, ...], ...]
    positions: int
    rows: int | None = None

    @property
    def trace_key(self) -> object:
        """Equal for answers of one length: they are read from the same logits."""
        return "tokens", self.positions

    def __call__(self, output: Any) -> BatchedScores:
        logits = logits_of(output)
        self._check(logits)
        first = logits.shape[1] - self.positions
        # One position at a time: a copy of all logits in float32 would be as large as the output.
        found = [_log_probability(logits[:, first + place], token) for place, token in self.tokens]
        return torch.stack([sum((found[i] for i in own), found[0] * 0) for own in self.sums], dim=1)

    def _check(self, logits: Logits) -> None:
        """Refuse logits that do not hold this answer.

        Raises:
            TargetError: they have other positions, or too few, or a smaller vocabulary.
        """
        _, rows, vocabulary = logits.shape
        if rows < self.positions:
            raise TargetError(
                f"The model returned logits for {rows} positions; the answer has "
                f"{self.positions} tokens.",
                likely="The model may return the logits of the next token only.",
                do="Open a model whose forward returns one row of logits per token of its text.",
            )
        if self.rows is not None and rows != self.rows:
            raise TargetError(
                f"The model returned logits for {rows} positions; for the unmasked image it was "
                f"{self.rows}.",
                likely="The number of tokens depends on the picture, so that positions move.",
                do="Open a model with a fixed number of image tokens.",
            )
        for _, token in self.tokens:
            if not 0 <= token < vocabulary:
                raise outside(token, vocabulary)


def _log_probability(row: Tensor, token: int) -> Tensor:
    """Of a token: `b` float32, from one row of logits per image."""
    row = row.float()
    return row[:, token] - row.logsumexp(dim=-1)


def outside(token: int, vocabulary: int) -> TargetError:
    """The error for a token that the model does not have."""
    return TargetError(
        f"The answer has the token {token}; the model's vocabulary has {vocabulary:,}.",
        likely="The tokenizer may belong to another model.",
        do="Give the tokenizer of this model: Tokens(processor=...).",
    )


def logits_of(output: Any) -> Logits:
    """The logits in a model's output: the tensor itself, `logits`, or the only `b l v`.

    Raises:
        TargetError: there are none.
    """
    entries = {"output": output} if isinstance(output, Tensor) else entries_of(output)
    fitting = {key: value for key, value in entries.items() if _may_be_logits(value)}
    if "logits" in fitting:
        return fitting["logits"]
    if len(fitting) == 1 and "loss" not in entries:
        [found] = fitting.values()
        return found
    shapes = ", ".join(f"{quoted(key)} {_shape(value)}" for key, value in entries.items())
    only_loss = "loss" in entries or any(_shape(value) == "()" for value in entries.values())
    raise TargetError(
        f"The model's output, a {type(output).__name__}, has no logits of the answer "
        f"({shapes or 'it holds nothing'}).",
        likely="It may return its training loss, which has no number per token."
        if only_loss
        else "It may be a classifier, or the image tower alone.",
        do="Wrap it in a module that returns the logits of its text decoder, one row per token; "
        "docs/tasks/tokens.md shows it for BLIP's question answering.",
    )


def _may_be_logits(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 3 and value.is_floating_point()


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
