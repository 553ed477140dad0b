"""The task `detect`: why this box.

The output of a detector is decoded to boxes and probabilities, those of the unmasked image become
columns, and each masked image is scored by its best match for each of them.
"""

from scorecam.tasks.detect.task import Detect

__all__ = ["Detect"]
