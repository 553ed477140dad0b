"""Texts and token ids: a tokenizer or processor of transformers, a `tokenizers.Tokenizer`."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor

from scorecam.base.wording import excerpt, quoted, reason
from scorecam.errors import SettingError
from scorecam.io.extras import require
from scorecam.shapes import Images

VOCABULARIES: Final = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
)
"""The files of which a tokenizer needs one."""

FILES: Final = (
    *VOCABULARIES,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "processor_config.json",
    "preprocessor_config.json",
    "chat_template.json",
    "chat_template.jinja",
)
"""The files of a processor. No code is among them."""

LARGEST: Final = 2**26
"""Bytes of such a file; that of the largest vocabularies has half as many."""

PREFIX: Final = "hf:"

GIVE: Final = "Give the model's processor or tokenizer: Tokens(processor=...), in Python."


class Texts:
    """Turns texts into token ids and back.

    Args:
        processor: of transformers, for text or for pictures and text; or a `tokenizers.Tokenizer`.
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.tokenizer: Any = getattr(processor, "tokenizer", processor)
        self._texts_to_ids: Any = self.tokenizer if callable(self.tokenizer) else None

    def ids(self, text: str) -> list[int]:
        """The tokens of a text without special ones.

        Raises:
            SettingError: the tokenizer fails.
        """
        try:
            if self._texts_to_ids is not None:
                found = self._texts_to_ids(text, add_special_tokens=False)["input_ids"]
            else:
                found = self.tokenizer.encode(text, add_special_tokens=False).ids
            return [int(token) for token in found]
        except Exception as error:
            raise _failed(self.tokenizer, text, error) from error

    def decoded(self, ids: list[int]) -> str:
        """The text of tokens.

        Raises:
            SettingError: the tokenizer fails.
        """
        try:
            return str(self.tokenizer.decode(ids))
        except Exception as error:
            raise _failed(self.tokenizer, ids, error) from error

    @property
    def start(self) -> int | None:
        """The tokenizer's token before a text."""
        for name in ("bos_token_id", "cls_token_id"):
            if isinstance(found := getattr(self.tokenizer, name, None), int):
                return found
        return None

    @property
    def ends(self) -> frozenset[int]:
        """The tokenizer's tokens after a text."""
        names = "eos_token_id", "sep_token_id"
        found = (getattr(self.tokenizer, name, None) for name in names)
        return frozenset(token for token in found if isinstance(token, int))

    def prompt(self, question: str, images: Images) -> dict[str, Any]:
        """The network's inputs for a question about a picture of this size, without the picture.

        Raises:
            SettingError: the processor fails, or makes a picture of another size.
        """
        text = self._in_template(question)
        if not hasattr(self.processor, "image_processor"):
            found = self._encoded(text)
            return {"input_ids": torch.tensor([found])}
        height, width = images.shape[-2:]
        blank = Image.new("RGB", (width, height))
        try:
            made = dict(self.processor(images=blank, text=text, return_tensors="pt"))
        except Exception as error:
            raise _failed(self.processor, question, error) from error
        picture = made.pop("pixel_values", None)
        if isinstance(picture, Tensor) and picture.shape != images.shape:
            raise SettingError(
                f"The processor makes pictures of the shape {tuple(picture.shape)}, and the input "
                f"has the shape {tuple(images.shape)}, so its text may not fit the picture.",
                likely="The photo was prepared in another way, or the model takes a picture in "
                "several parts.",
                do="Use the processor's own pictures: scorecam.open_model(net, preprocess=...); or "
                "give all inputs of the network by name, and no question.",
            )
        return made

    def _encoded(self, text: str) -> list[int]:
        """The tokens of a text with special ones."""
        try:
            if self._texts_to_ids is not None:
                return [int(token) for token in self._texts_to_ids(text)["input_ids"]]
            return [int(token) for token in self.tokenizer.encode(text).ids]
        except Exception as error:
            raise _failed(self.tokenizer, text, error) from error

    def _in_template(self, question: str) -> str:
        """The question in the form of a chat, if the processor has one for pictures."""
        image_token = getattr(self.processor, "image_token", None)
        template = getattr(self.processor, "chat_template", None)
        if not template or (isinstance(image_token, str) and image_token in question):
            return question
        content = [{"type": "image"}, {"type": "text", "text": question}]
        messages = [{"role": "user", "content": content}]
        try:
            return str(self.processor.apply_chat_template(messages, add_generation_prompt=True))
        except Exception as error:
            raise _failed(self.processor, question, error) from error


def _failed(tokenizer: Any, value: object, error: Exception) -> SettingError:
    """The error for a tokenizer that fails."""
    return SettingError(
        f"{type(tokenizer).__name__} failed on {quoted(value)}: {type(error).__name__}: "
        f"{reason(error)}",
        likely="It may be no tokenizer or processor, or belong to another model.",
        do="Give a tokenizer or processor of transformers, or a tokenizers.Tokenizer.",
    )


def texts_for(processor: Any, spec: str) -> Texts | None:
    """What the user gave, or what is in the folder of the model; None if there is nothing.

    Args:
        processor: an object, or the path of a folder.
        spec: of the model.

    Raises:
        SettingError: the folder has no tokenizer that can be read.
    """
    if isinstance(processor, str | os.PathLike):
        found = _loaded(Path(processor))
        if found is None:
            raise SettingError(
                f"The folder {excerpt(processor, 200)} has no tokenizer.",
                do="Give a folder that save_pretrained of a processor or tokenizer wrote.",
            )
        return found
    if processor is not None:
        return Texts(processor)
    return _loaded(Path(spec.removeprefix(PREFIX))) if spec.startswith(PREFIX) else None


def _loaded(folder: Path) -> Texts | None:
    """The processor or tokenizer in a folder; None without one.

    Raises:
        SettingError: it cannot be read.
        MissingExtra: transformers is not installed.
    """
    files = [folder / name for name in FILES if (folder / name).is_file()]
    if not any(file.name in VOCABULARIES for file in files):
        return None
    for file in files:
        if file.stat().st_size > LARGEST:
            raise SettingError(
                f"The file {excerpt(file, 200)} is larger than {LARGEST >> 20} MB.",
                likely="It is not a tokenizer's.",
                do=GIVE,
            )
    transformers = require("transformers", "hf", "read a tokenizer")
    options = {"local_files_only": True, "trust_remote_code": False}
    with contextlib.suppress(Exception):  # a folder may have a tokenizer alone
        made = transformers.AutoProcessor.from_pretrained(folder, **options)
        if hasattr(made, "tokenizer") or hasattr(made, "decode"):
            return Texts(made)
    try:
        return Texts(transformers.AutoTokenizer.from_pretrained(folder, **options))
    except Exception as error:
        raise SettingError(
            f"transformers could not read the tokenizer in {excerpt(folder, 200)}: "
            f"{type(error).__name__}: {reason(error)}",
            do=GIVE,
        ) from error
