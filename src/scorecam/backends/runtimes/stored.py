"""Converted networks on disk: for which network a file is, and whether it is intact.

A file is named after everything that the conversion depends on. The content of the weights counts
there with 32-bit checksums, which are known anyway; a SHA-256 in the file is compared too. A
damaged file is noticed by its checksum. That is no protection against somebody who can write the
file; see `stored_files` for who can.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import platform
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scorecam.backends.locks import exclusively
from scorecam.backends.runtimes import references, stored_files
from scorecam.backends.runtimes.runtime import Network
from scorecam.backends.runtimes.state import State, read_state

FORMAT = 1
"""Raise it when the meaning of the files changes: older ones are then not used."""

_END = struct.Struct("<8s3QI")
"""The last bytes of a file: a mark, the sizes of its three parts, and a checksum of all before."""

_MARK = b"scorecam"

_DAMAGED = OSError, ValueError, KeyError, TypeError, RecursionError, struct.error
"""What reading a damaged file may raise."""

_MOST_TEXT = 64 << 20
"""The most bytes of the graph and of the description."""


@dataclass(frozen=True, eq=False)
class Content:
    """What is stored of one conversion.

    Args:
        weights: numbers that the graph refers to by their place.
        graph: the runtime's own description of it.
        live: names of the network's own weights, which the file leaves out, in the graph's order.
        file: the memory of the weights.
    """

    weights: memoryview
    graph: bytes
    live: Sequence[str]
    file: mmap.mmap

    def release(self) -> None:
        """Give the memory back to the system. It is read from the file again where it is used."""
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            self.file.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True, eq=False)
class Slot:
    """The place of one network's conversion.

    Args:
        network: the network.
        name: of the file.
        shape: of a batch.
    """

    network: Network
    name: str
    shape: Sequence[int]

    def filled(self) -> bool:
        """Whether there is a file; it may still turn out to be damaged."""
        return stored_files.usable(self.name)

    def load(self) -> Content:
        """What is stored.

        Raises:
            OSError, ValueError, KeyError, TypeError: nothing is, or it cannot be used.
        """
        content, about = _parts(stored_files.read(self.name))
        if about["format"] != FORMAT or about["name"] != self.name:
            raise ValueError("it is for another network")
        if about["weights"] != self._sha256(content.live):
            raise ValueError("it is for other weights")
        stored_files.note_use(self.name)
        return content

    def save(self, write: Callable[[Path], tuple[bytes, Sequence[str]]], expected: int) -> None:
        """Store a conversion, if the folder can be written.

        Args:
            write: writes the weights to a path; returns the graph and the names of live weights.
            expected: about how many bytes the weights are.

        Raises:
            OSError, RuntimeError: it cannot be written.
        """
        with stored_files.writing(self.name, expected) as path:
            if path is None:
                return
            graph, live = write(path)
            about = json.dumps(
                {
                    "format": FORMAT,
                    "name": self.name,
                    "network": type(self.network.module).__name__,
                    "shape": list(self.shape),
                    "live": list(live),
                    "weights": self._sha256(live),
                }
            ).encode()
            with path.open("r+b") as file:
                total = 0
                while part := file.read(1 << 20):
                    total = zlib.crc32(part, total)
                sizes = file.tell(), len(graph), len(about)
                end = _END.pack(_MARK, *sizes, 0)[:-4]
                total = zlib.crc32(graph + about + end, total)
                file.write(graph + about + end + total.to_bytes(4, "little"))

    def own_weights(self) -> dict[str, Tensor]:
        """The network's parameters and buffers that a conversion may share."""
        module = self.network.module
        named = [
            *module.named_parameters(remove_duplicate=False),
            *module.named_buffers(remove_duplicate=False),
        ]
        return {name: weight for name, weight in named if _plain(weight)}

    def _sha256(self, live: Sequence[str]) -> str:
        """Of the network's state, without the weights that the file leaves out."""
        own = self.own_weights()
        left_out = {id(own[name]) for name in live}

        def digest(tensor: Tensor) -> bytes:
            return b"left out" if id(tensor) in left_out else references.sha256(tensor)

        module = self.network.module
        with exclusively(module):  # no other thread may have a hook in it meanwhile
            state = read_state(module, self.network.readout_key, digest)
        return (state.digest() or b"").hex()


def slot(network: Network, shape: Sequence[int], state: State, versions: str) -> Slot | None:
    """The place of a network's conversion; None if its state cannot be compared on disk.

    Args:
        network: the network.
        shape: of a batch.
        state: of the network.
        versions: of the runtime.
    """
    digest = state.digest()
    if digest is None:
        return None
    settings = (
        *(FORMAT, versions, torch.__version__, platform.python_version(), _own_version()),
        *(platform.machine(), torch.backends.cpu.get_cpu_capability()),
        *(tuple(shape), network.precision, network.device.type, torch.get_default_dtype()),
        torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu"),
    )
    key = hashlib.blake2b(repr(settings).encode() + digest, digest_size=16)
    return Slot(network, key.hexdigest() + stored_files.ENDING, tuple(shape))


def describe(path: Path) -> str:
    """The class of a stored network and the size of a batch; empty if the file is damaged."""
    with contextlib.suppress(*_DAMAGED), path.open("rb") as file:
        file.seek(-_END.size, os.SEEK_END)
        mark, _, _, about, _ = _END.unpack(file.read())
        if mark == _MARK and about <= _MOST_TEXT:
            file.seek(-_END.size - about, os.SEEK_END)
            known = json.loads(file.read(about))
            shape = " × ".join(str(size) for size in known["shape"])
            return f"{known['network']}, batches of {shape}"
    return ""


def _own_version() -> str:
    from importlib import metadata

    return metadata.version("scorecam")


def _plain(weight: Tensor) -> bool:
    """Whether a conversion can use a tensor's memory as it is."""
    return (
        type(weight) in (Tensor, torch.nn.Parameter)
        and weight.device.type == "cpu"
        and weight.layout == torch.strided
        and weight.is_contiguous()
        and not (weight.is_conj() or weight.is_neg())
    )


def _parts(whole: mmap.mmap) -> tuple[Content, dict[str, Any]]:
    """The parts of a file, whose checksum is verified before anything is read from it."""
    view = memoryview(whole)
    mark, weights, graph, about, total = _END.unpack(view[-_END.size :])
    if mark != _MARK or weights + graph + about + _END.size != len(view):
        raise ValueError("it is not complete")
    if max(graph, about) > _MOST_TEXT or zlib.crc32(view[:-4]) != total:
        raise ValueError("it is damaged")
    text = view[weights:]
    described = json.loads(bytes(text[graph : graph + about]))
    return Content(view[:weights], bytes(text[:graph]), described["live"], whole), described
