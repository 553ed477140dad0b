"""What is explained, if not the classes: `--task` and the tasks' own options."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scorecam.cli.known import TASKS, any_of
from scorecam.errors import SettingError

if TYPE_CHECKING:  # imported when a command runs: --help must not wait for torch
    from scorecam.model.model import Task

TaskOption = Annotated[
    str | None,
    typer.Option("--task", help=f"What is explained, if not the classes: {any_of(TASKS)}."),
]


def of(tasks: str, text: str) -> Any:
    """An option of these tasks; its name is that of the tasks' field."""
    return typer.Option(help=f"With --task {tasks}: {text}")


@dataclass(frozen=True)
class TaskOptions:
    """A task and its options.

    To add an option, add a line here: the name is that of the field of the task's class.
    """

    task: TaskOption = None
    decode: Annotated[str | None, of("detect", "what the model's output is.")] = None
    threshold: Annotated[
        float | None,
        of("detect or multilabel", "the least probability of a box, or of a label to list."),
    ] = None
    overlap: Annotated[
        float | None, of("detect", "boxes of a class that overlap by more than this IoU are one.")
    ] = None
    label: Annotated[str | None, of("segment", "the class, by name or index.")] = None
    reference: Annotated[
        list[str] | None, of("similar", "a photo to compare with; may be repeated.")
    ] = None
    text: Annotated[list[str] | None, of("similar", "a text to compare with; may be repeated.")] = (
        None
    )
    average: Annotated[bool, of("similar", "compare with the mean of the references.")] = False
    embedding: Annotated[
        str | None, of("similar", "where the embedding is in the model's output.")
    ] = None
    unit: Annotated[str | None, of("regress", "the unit of the values, such as mm.")] = None
    direction: Annotated[str | None, of("regress", "what is explained: up or down.")] = None
    recipe: Annotated[str | None, of("regress", "how outputs become values.")] = None
    names: Annotated[
        str | None, of("regress or multilabel", "names of the values or labels, with commas.")
    ] = None
    heads: Annotated[
        str | None, of("multilabel", "heads with their kinds, such as colour=logits,shape=sigmoid.")
    ] = None
    answer: Annotated[str | None, of("tokens", "the text whose tokens are explained.")] = None
    question: Annotated[str | None, of("tokens", "the text that the model receives.")] = None
    instead: Annotated[str | None, of("tokens", "another answer, to compare with.")] = None
    by: Annotated[str | None, of("tokens", "a column for each of the tokens or words.")] = None
    length: Annotated[int | None, of("tokens", "the most tokens that are written.")] = None

    @property
    def given(self) -> dict[str, Any]:
        """The options of the task that the user gave, by the names of its fields."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
            if name != "task" and value not in (None, False, [])
        }


def find_task(options: TaskOptions) -> Task | None:
    """The task on the command line; None for the classes.

    Raises:
        SettingError: there is no such task, or an option does not belong to it.
    """
    from scorecam.io.ranges import parse_whole
    from scorecam.tasks import names

    if options.task is not None:
        given = options.given
        index = parse_whole(given.get("embedding", ""))  # an index or a name
        if index is not None:
            given["embedding"] = index
        return names.find_task(options.task, given)
    for name in options.given:
        tasks = names.takers(name) or TASKS
        raise SettingError(
            f"--{name} was given without a task.",
            likely=f"It is an option of the task {any_of(tasks)}.",
            do=f"Give --task {any_of(tasks)}, or leave --{name} out.",
        )
    return None
