"""The data set formats, one file each, in the order in which they are tried on a path."""

from __future__ import annotations

from scorecam.datasets.formats.coco import COCO
from scorecam.datasets.formats.folder import FOLDER
from scorecam.datasets.formats.format import Format
from scorecam.datasets.formats.imagenet import IMAGENET
from scorecam.datasets.formats.table import LIST
from scorecam.datasets.formats.voc import VOC

FORMATS: dict[str, Format] = {each.name: each for each in (LIST, COCO, VOC, IMAGENET, FOLDER)}
"""By name. A path has the first format that recognises it; `folder` recognises every path."""
