"""The tasks by name, with the options that users give them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from scorecam.base.wording import quoted
from scorecam.errors import SettingError, did_you_mean
from scorecam.model.model import Task
from scorecam.tasks.detect import Detect
from scorecam.tasks.multilabel import MultiLabel
from scorecam.tasks.regress import Regress
from scorecam.tasks.segment import Segment
from scorecam.tasks.similar import Similar
from scorecam.tasks.tokens import Tokens

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (Detect, Segment, Similar, Regress, MultiLabel, Tokens)
}
"""Every task by name. To add one, write its file and add it here."""


def find_task(task: str | Task, options: Mapping[str, Any] | None = None) -> Task:
    """The task with this name and these options, or the task itself.

    Args:
        options: by the names of the task's fields.

    Raises:
        SettingError: there is no such task, or it does not take an option.
    """
    if isinstance(task, Task) and not options:
        return task
    if not isinstance(task, str) or task not in TASKS:
        raise SettingError(
            f"There is no task {quoted(task)}.",
            likely=did_you_mean(task, TASKS) if isinstance(task, str) else "",
            do=f"With task= (--task), give {', '.join(TASKS)}, or a task from scorecam.tasks.",
        )
    kind, given = TASKS[task], options or {}
    known = _options(kind)
    for name in given:
        if name not in known:
            others = takers(name)
            raise SettingError(
                f"The task {task} has no option {name}= (--{name.replace('_', '-')}).",
                likely=f"It belongs to {' and '.join(others)}." if others else "",
                do=f"It takes {', '.join(sorted(known)) or 'no options'}.",
            )
    return kind(**given)


def takers(option: str) -> list[str]:
    """The tasks that have an option."""
    return [name for name, kind in TASKS.items() if option in _options(kind)]


def _options(kind: type[Task]) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
