"""The task `tokens`: which part of the picture each token of an answer depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from torch import Tensor

from scorecam.io.arguments import choice
from scorecam.io.ranges import Whole, parse_whole
from scorecam.model.model import Inputs, Model, TargetSpec, Task
from scorecam.model.task_columns import TaskColumns
from scorecam.shapes import Images

LENGTH: Final = Whole(1, 1000)
"""Tokens of an answer that the model writes."""


@dataclass(frozen=True)
class Tokens(Task):
    """The log-probability of each token of an answer, given the picture and the tokens before it.

    The model is a captioner or a vision-language model. The answer is fixed (teacher forcing), so
    one bank explains all of its tokens.

    Args:
        answer: a text, its token ids, or None for the answer that the model writes greedily.
        question: the text that the model receives with the picture; None for none.
        processor: the model's processor or tokenizer, or a folder with one; None for the one in
            the folder of hf:FOLDER.
        instead: another answer, as text or ids. Its first token that differs becomes a column, so
            that `bank.contrast` shows why the model prefers one to the other.
        by: one column for each of the "tokens", or for each of the "words".
        length: at most this many tokens are written without `answer`.
    """

    name: ClassVar[str] = "tokens"
    adds_inputs: ClassVar[bool] = True

    answer: str | Sequence[int] | Tensor | None = None
    question: str | None = None
    processor: Any = None
    instead: str | Sequence[int] | Tensor | None = None
    by: str = "tokens"
    length: int | str = 30

    def __post_init__(self) -> None:
        choice("by", self.by, ("tokens", "words"))
        LENGTH.check("length", self.most)

    @property
    def most(self) -> Any:
        """`length` as a number; the command line gives text."""
        number = parse_whole(self.length) if isinstance(self.length, str) else self.length
        return self.length if number is None else number

    def prepared(self, model: Model, inputs: Inputs) -> tuple[Model, Inputs]:
        from scorecam.tasks.tokens.forced import with_answer  # not before the task is used

        return with_answer(self, model, inputs)

    def columns(self, model: Model, images: Images, target: TargetSpec) -> TaskColumns:
        """The columns for a model whose other inputs are those of `prepared` already."""
        forced = self.prepared(model, images)[0].task
        assert forced is not None  # noqa: S101  (`prepared` gives it one)
        return forced.columns(model, images, target)
