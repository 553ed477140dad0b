"""The kinds of Hugging Face's networks, and the task that explains each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Kind:
    """A kind of network.

    Args:
        networks: transformers' table of these networks, by the type of their configuration.
        auto: transformers' class that builds them.
        remark: what the user should know about them; {name} is that of the network's class.
    """

    networks: str
    auto: str
    remark: str = ""


CLASSIFIER: Final = Kind(
    "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING", "AutoModelForImageClassification"
)

_WRITER: Final = Kind(
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING",
    "AutoModelForImageTextToText",
    "The network writes text, for the task tokens (--task tokens).",
)
_SEGMENTS: Final = "{name} segments the image, for the task segment (--task segment)."

KINDS: Final = (
    _WRITER,
    Kind(
        "MODEL_FOR_OBJECT_DETECTION_MAPPING",
        "AutoModelForObjectDetection",
        "{name} finds boxes, for the task detect (--task detect).",
    ),
    Kind("MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING", "AutoModelForSemanticSegmentation", _SEGMENTS),
    Kind(
        "MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING", "AutoModelForUniversalSegmentation", _SEGMENTS
    ),
    Kind("MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING", "AutoModelForInstanceSegmentation", _SEGMENTS),
    Kind(
        "MODEL_MAPPING",
        "AutoModel",
        "{name} has no classifier: its output is an embedding, for the task similar.",
    ),
)
"""The kinds other than classifiers. A folder states the name of its network's class."""


def kind_of(transformers: Any, config: Any) -> tuple[Kind, str]:
    """The kind of a folder's network, and the remark about it.

    Without a stated name, it is a classifier if there is one of this type, or else writes text.
    """
    names = getattr(config, "architectures", None) or ()
    for kind in KINDS:
        own = _name_in(kind, transformers, config)
        if own and own in names:
            return kind, kind.remark.format(name=own)
    writes = _name_in(_WRITER, transformers, config)
    if not names and writes and not _name_in(CLASSIFIER, transformers, config):
        return _WRITER, _WRITER.remark
    return CLASSIFIER, ""


def _name_in(kind: Kind, transformers: Any, config: Any) -> str:
    """The name of the class of this kind for a configuration; empty if there is none."""
    networks: Mapping[Any, Any] = getattr(transformers, kind.networks, {})
    if type(config) not in networks:
        return ""
    return getattr(networks[type(config)], "__name__", "")
