"""Networks of Hugging Face that write text about an image: captioners, vision-language models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def writer(transformers: Any, config: Any) -> Any:
    """The class that builds a network that writes text; None if the folder has another network.

    A folder states the name of its network's class. Without a name, a kind of network that has a
    classifier is one.
    """
    writers: Mapping[Any, Any] = transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    classifiers: Mapping[Any, Any] = transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    kind, names = type(config), getattr(config, "architectures", None) or ()
    if kind not in writers:
        return None
    stated = writers[kind].__name__ in names if names else kind not in classifiers
    return transformers.AutoModelForImageTextToText if stated else None
