"""The task similar: how close the embedding of an image is to references or texts."""

from scorecam.tasks.similar.nearest import Neighbour, nearest
from scorecam.tasks.similar.task import Similar

__all__ = ["nearest", "Neighbour", "Similar"]
