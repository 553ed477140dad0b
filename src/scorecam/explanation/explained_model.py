"""The model of an explanation, as it was explained."""

from __future__ import annotations

from dataclasses import replace

from scorecam.explanation.explanation import Explanation
from scorecam.model.model import Model


def explained_model(model: Model, explanation: Explanation) -> Model:
    """The model that takes the image in its form and, with a task, scores the same columns."""
    model = model.with_form(explanation.form)
    if explanation.task_columns is None:
        return model
    column = explanation.target.index
    return model.with_columns(replace(explanation.task_columns, column=column))
