"""The task multilabel: labels that do not exclude each other, and several heads of one network."""

from scorecam.tasks.multilabel.task import MultiLabel

__all__ = ["MultiLabel"]
