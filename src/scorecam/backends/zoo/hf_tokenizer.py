"""The tokenizer of a Hugging Face folder, for networks with a text tower."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scorecam.base.wording import excerpt, reason
from scorecam.errors import SettingError
from scorecam.io.extras import require
from scorecam.model.text_tower import Tokenizer

VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model")
"""The files of which a tokenizer needs one."""

FILES = (
    *VOCABULARIES,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
"""The files of a tokenizer. No code is among them."""

LARGEST = 2**26
"""Bytes of such a file; that of the largest vocabularies has half as many."""


@dataclass(frozen=True)
class FolderTokenizer:
    """Loads the tokenizer of a folder when a text is first embedded.

    Args:
        folder: that save_pretrained of transformers wrote.
    """

    folder: Path

    def __call__(self) -> Tokenizer:
        """The tokenizer.

        Raises:
            SettingError: the folder has none, or it is damaged.
        """
        transformers = require("transformers", "hf", "read a tokenizer")
        files = [self.folder / name for name in FILES if (self.folder / name).is_file()]
        if not any(file.name in VOCABULARIES for file in files):
            raise SettingError(
                f"Texts were given, and the folder {excerpt(self.folder, 200)} has no tokenizer.",
                likely="Only the network was saved.",
                do="Save it there too: tokenizer.save_pretrained(folder). In Python, tokenizer= "
                "takes a function from a list of texts to token ids.",
            )
        for file in files:
            if file.stat().st_size > LARGEST:
                raise SettingError(
                    f"The file {excerpt(file, 200)} is larger than {LARGEST >> 20} MB.",
                    likely="It is not a tokenizer's.",
                    do="Save the tokenizer again.",
                )
        try:
            return transformers.AutoTokenizer.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # the files may have any values
            raise SettingError(
                f"transformers could not read the tokenizer in {excerpt(self.folder, 200)}: "
                f"{type(error).__name__}: {reason(error)}",
                likely="It is damaged, or needs code or a library that is not installed.",
                do="Check that AutoTokenizer.from_pretrained(folder) works, or give tokenizer= in "
                "Python.",
            ) from error
