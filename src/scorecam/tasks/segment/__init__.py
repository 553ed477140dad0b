"""The task segment: a class in a region of the picture, from networks that answer per pixel."""

from scorecam.tasks.segment.task import Segment

__all__ = ["Segment"]
