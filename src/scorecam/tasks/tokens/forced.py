"""The model with the answer in its inputs: teacher forcing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import torch

from scorecam.base.wording import excerpt, quoted
from scorecam.errors import SettingError, TargetError
from scorecam.model.model import Inputs, Model, TargetSpec, Task
from scorecam.model.place import is_place
from scorecam.model.target import find_target
from scorecam.model.task_columns import TaskColumns
from scorecam.shapes import Images
from scorecam.tasks.tokens.answer import (
    LONGEST_NAME,
    Answer,
    answer_of,
    different,
    ids_of,
    printable,
)
from scorecam.tasks.tokens.network import Network
from scorecam.tasks.tokens.prompt import Prompt, prompt_for
from scorecam.tasks.tokens.readout import LogProbabilities, logits_of, outside
from scorecam.tasks.tokens.tokenizer import Texts, texts_for


class Options(Protocol):
    """The options of the task; see `Tokens`."""

    @property
    def answer(self) -> Any: ...
    @property
    def question(self) -> str | None: ...
    @property
    def processor(self) -> Any: ...
    @property
    def instead(self) -> Any: ...
    @property
    def by(self) -> str: ...
    @property
    def most(self) -> int: ...


def with_answer(task: Options, model: Model, inputs: Inputs) -> tuple[Model, Inputs]:
    """The model that reads the answer's columns, and its inputs with the answer.

    Raises:
        SettingError, TargetError: see `Task.columns`.
    """
    texts = texts_for(task.processor, model.spec)
    network = Network.of(model)
    prompt = prompt_for(network, inputs, model.axes, question=task.question, texts=texts)
    remarks: list[str] = []
    passes = 0
    if task.answer is None:
        ids = written(model, prompt, task.most, texts)
        passes = len(ids) + 1
        remarks.append(f"The model wrote the answer itself, {len(ids)} tokens, greedily.")
    else:
        ids = ids_of(task.answer, texts, "answer")
    others = None if task.instead is None else ids_of(task.instead, texts, "instead")
    for token in [*ids, *(others or ())]:
        if network.vocabulary is not None and token >= network.vocabulary:
            raise outside(token, network.vocabulary)
    answer = answer_of(ids, texts)
    readout, names = _columns(answer, task.by, _foil(answer, others, texts))
    forced = Forced(readout, names, tuple(remarks), passes)
    return model.with_readout(readout).with_task(forced), prompt.with_answer(ids)


@dataclass(frozen=True)
class Forced(Task):
    """The task of a model whose inputs hold the answer.

    Args:
        readout: of the answer's columns.
        names: of the columns.
        remarks: on the answer.
        passes: that its tokens cost.
    """

    name: ClassVar[str] = "tokens"

    readout: LogProbabilities
    names: tuple[str, ...]
    remarks: tuple[str, ...]
    passes: int

    def columns(self, model: Model, images: Images, target: TargetSpec) -> TaskColumns:
        if is_place(target):
            raise TargetError(
                f"The target {quoted(target)} is a place in the picture, and the columns are those "
                "of a text.",
                do=f"Give a token (--target {excerpt(self.names[1], 40)}) or the number of a "
                "column, or None for the whole answer.",
            )
        column = 0
        if isinstance(target, int | str):
            column = find_target(target, torch.zeros(len(self.names)), self.names, "value").index
        rows = logits_of(model.output(images)).shape[1]
        return TaskColumns(
            readout=replace(self.readout, rows=rows),
            names=self.names,
            column=column,
            task=self.name,
            unit="nats",
            remarks=self.remarks,
            passes=1 + self.passes,
        )


def written(model: Model, prompt: Prompt, most: int, texts: Texts | None) -> list[int]:
    """The answer that the model writes: the most likely token, again and again.

    Every token is a pass of the same kind as those of masked images.

    Raises:
        TargetError: the model ends the answer at once, or returns no logits.
    """
    ends = prompt.network.ends | (texts.ends if texts is not None else frozenset())
    ids: list[int] = []
    while len(ids) < most:
        inputs = prompt.with_answer([*ids, 0]) | prompt.network.lean(1)
        images, [own] = model.split_inputs(inputs)
        token = int(logits_of(own.output(images))[0, -1].argmax())
        if token in ends:
            break
        ids.append(token)
    if not ids:
        raise TargetError(
            "The model ends its answer before the first token.",
            likely="It may expect a question, or a start token of another kind.",
            do="Give the answer: Tokens(answer=...), --answer.",
        )
    return ids


def _foil(
    answer: Answer, others: list[int] | None, texts: Texts | None
) -> tuple[int, int, str] | None:
    """Where another answer first differs: the position, the other token and its text.

    Raises:
        SettingError: it does not differ.
    """
    if others is None:
        return None
    pairs = enumerate(zip(answer.ids, others, strict=False))
    place = next((i for i, (own, other) in pairs if own != other), None)
    if place is None:
        raise SettingError(
            "instead= (--instead) has no token that differs from the answer's at the same place.",
            likely="It may be the same answer, or one of the two is the beginning of the other.",
            do="Give an answer that differs in a token: answer a cat, instead a dog.",
        )
    own = answer_of(others[: place + 1], texts)
    return place, others[place], own.pieces[-1]


def _columns(
    answer: Answer, by: str, foil: tuple[int, int, str] | None
) -> tuple[LogProbabilities, tuple[str, ...]]:
    """The readout and the names: the whole answer, then its tokens or words, then the other one."""
    count = len(answer.ids)
    parts = answer.words if by == "words" else [(i,) for i in range(count)]
    tokens, sums = list(enumerate(answer.ids)), [tuple(range(count)), *parts]
    names = answer.names(parts)
    if foil is not None:
        place, token, piece = foil
        tokens.append((place, token))
        sums.append((count,))
        names.append(f"{printable(piece)} instead of {printable(answer.pieces[place])}")
    parts_names = different(names)
    whole = excerpt(printable(answer.text), LONGEST_NAME)
    while whole.casefold() in {name.casefold() for name in parts_names}:
        whole = f"{whole} (whole answer)"
    readout = LogProbabilities(tuple(tokens), tuple(sums), count)
    return readout, (whole, *parts_names)
