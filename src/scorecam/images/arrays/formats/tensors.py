"""One tensor of a safetensors file."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import safetensors

from scorecam.errors import PhotoError
from scorecam.images.arrays import checks
from scorecam.images.arrays.array_file import ArrayFile
from scorecam.images.arrays.formats.npy import as_stored
from scorecam.images.arrays.keys import chosen
from scorecam.images.file_types import DAMAGED
from scorecam.io.reading import Kind, check_file

_KIND: Final = Kind("a safetensors file", checks.LARGEST, PhotoError)

_BANK: Final = "scorecam"
"""The entry that score banks have in the header."""


def begins(head: bytes) -> bool:
    """Whether a file begins as a safetensors file."""
    return head[8:].startswith(b'{"')


def read(path: Path, key: str | None) -> ArrayFile:
    """The tensor in a file, or the one with this name; its axes are as stored.

    Raises:
        PhotoError: it cannot be read, is damaged, is a score bank, does not hold real numbers, or
            holds several tensors and there is no key.
    """
    with _opened(path) as file:
        return _read(file, path.name, key)


def names(path: Path) -> list[str]:
    """The names of the tensors in a file.

    Raises:
        PhotoError: it cannot be read, is damaged, or is a score bank.
    """
    with _opened(path) as file:
        return list(file.keys())


@contextlib.contextmanager
def _opened(path: Path) -> Generator[Any]:
    """The file; errors while it is open mean that it is damaged.

    Raises:
        PhotoError: it cannot be read, is damaged, or is a score bank.
    """
    check_file(path, _KIND)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            if _BANK in (file.metadata() or {}):
                raise PhotoError(
                    f"{path.name} is a score bank, not the input of a network.",
                    do="Show it with `scorecam show`.",
                )
            yield file
    except PhotoError:
        raise
    except Exception as error:  # the library raises many kinds for damaged files
        raise PhotoError(
            f"{path.name} is not a safetensors file that can be read: {error}.",
            likely=DAMAGED[0],
            do="Copy it again, or save it again with safetensors.torch.save_file.",
        ) from error


def _read(file: Any, name: str, key: str | None) -> ArrayFile:
    weights = "They are the weights of a network; give those as --weights."
    names_in = list(file.keys())
    tensor_name = chosen(names_in, key, name, likely=weights)
    label = name if len(names_in) == 1 else f"{name}:{tensor_name}"
    part = file.get_slice(tensor_name)
    bits = re.search(r"\d+", part.get_dtype())
    checks.check_size(part.get_shape(), int(bits[0]) / 8 if bits else 8, label)
    tensor = file.get_tensor(tensor_name)
    if tensor.is_floating_point():
        tensor = tensor.double() if tensor.element_size() == 8 else tensor.float()
    return as_stored(tensor.numpy(), label)
