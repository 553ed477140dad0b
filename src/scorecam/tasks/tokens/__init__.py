"""The task tokens: which part of the picture each token of a text depends on."""

from scorecam.tasks.tokens.task import Tokens

__all__ = ["Tokens"]
