"""What is explained, if not a class: a box, a pixel, a pair, a sentence or a number.

A task turns a model's output for one image into columns with names. Everything after that is
Score-CAM as for classes.
"""

from scorecam.tasks.detect import Detect
from scorecam.tasks.multilabel import MultiLabel
from scorecam.tasks.names import TASKS, find_task
from scorecam.tasks.regress import Regress
from scorecam.tasks.segment import Segment
from scorecam.tasks.similar import Neighbour, Similar, nearest
from scorecam.tasks.tokens import Tokens

__all__ = [
    "Detect",
    "find_task",
    "MultiLabel",
    "nearest",
    "Neighbour",
    "Regress",
    "Segment",
    "Similar",
    "TASKS",
    "Tokens",
]
