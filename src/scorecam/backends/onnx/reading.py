"""Reading an ONNX file: the one place that parses such files, which may come from an attacker."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from scorecam.backends.onnx import library, operators
from scorecam.backends.onnx.contents import tensors
from scorecam.backends.onnx.external import (
    DATA,
    Part,
    folders,
    is_external,
    part_of,
    place_in,
)
from scorecam.backends.onnx.file_kinds import looks_like
from scorecam.backends.onnx.functions import without_functions
from scorecam.backends.onnx.sizes import check_sizes
from scorecam.backends.onnx.sorting import sort_nodes
from scorecam.backends.onnx.structure import check_structure
from scorecam.backends.onnx.tensors import check_stored
from scorecam.backends.onnx.wire import MOST_FIELDS, Malformed, TooMany, count_fields, messages
from scorecam.base.cached_property import cached_property
from scorecam.base.wording import excerpt, quoted
from scorecam.errors import ModelError, WeightsError
from scorecam.io.reading import Kind, open_file, read_bytes

if TYPE_CHECKING:
    import onnx

FILE: Final = Kind("an ONNX file", 2**31 - 1, ModelError)
"""Protocol Buffers allow no more. Larger networks keep their weights in other files."""

MOST_METADATA: Final = 2**24

GIVE: Final = "Give an ONNX file: torch.onnx.export makes one of a PyTorch network."

CHUNK: Final = 1 << 22


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """An ONNX file that was checked.

    Args:
        proto: the model, without external data and without functions of its own. Do not change it.
        path: the file.
        folder: the folder that the places of external data are relative to.
        external: the files of external data, which are in that folder or below it.
        metadata: the texts that the exporter saved with the model, such as the names of classes.
    """

    proto: onnx.ModelProto
    path: Path
    folder: Path
    external: tuple[Path, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def session_entries(self) -> dict[str, str]:
        """What a session has to be given to find external data.

        A session that is opened from bytes, those of `proto.SerializeToString()` or of a copy with
        more outputs, looks for external data in this folder, and refuses files outside it:

            options = onnxruntime.SessionOptions()
            for key, value in file.session_entries().items():
                options.add_session_config_entry(key, value)
        """
        if not self.external:
            return {}
        return {"session.model_external_initializers_file_folder_path": str(self.folder)}

    def fingerprint(self) -> str:
        """SHA-256 of the graph and of all weights, external data included.

        The names of the files do not matter, nor do the exporter and the metadata.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        proto = self.proto
        if self.external:  # the copy has no names of files
            proto = type(proto)()
            proto.CopyFrom(self.proto)
        for tensor in tensors(proto):
            if is_external(tensor):
                for chunk in _chunks(part_of(tensor, self.folder / "model")):
                    digest.update(chunk)
                del tensor.external_data[:]
        for part in (proto.graph, *proto.functions, *proto.opset_import):
            digest.update(part.SerializeToString(deterministic=True))
        return digest.hexdigest()


def read_onnx(path: str | os.PathLike[str]) -> OnnxFile:
    """Read an ONNX file and check it. Nothing in it runs, and no other file is read.

    Raises:
        ModelError: it is missing, no ONNX file, damaged, malicious, or too new.
        WeightsError: a tensor does not fit its data, or external data is missing.
        MissingExtra: onnx or onnxruntime is not installed.
    """
    content = read_bytes(path, FILE)
    proto = _parsed(content, path)
    file = Path(path)
    _check_graph(proto, file)
    operators.check_versions(proto, library.onnx().IR_VERSION)
    proto = without_functions(proto)
    sort_nodes(proto)
    check_structure(proto)
    operators.check_operators(proto)
    folder, external = _check_tensors(proto, file)
    check_sizes(proto)
    metadata = _metadata(proto)
    return OnnxFile(proto, file, folder=folder, external=external, metadata=metadata)


def _check_tensors(proto: Any, file: Path) -> tuple[Path, tuple[Path, ...]]:
    """Check every tensor; return the folder and the files of external data."""
    parts: list[tuple[Any, Part]] = []
    for tensor in tensors(proto):
        if is_external(tensor):
            parts.append((tensor, part_of(tensor, file)))
        else:
            check_stored(tensor)
    files = tuple(dict.fromkeys(part.file for _, part in parts))
    for folder in folders(file):
        if all(name.is_relative_to(folder) for name in files):
            for tensor, part in parts:
                place_in(folder, tensor, part)
            return folder, files
    raise WeightsError(
        f"The weights of {quoted(file.name, 200)} are in two folders.",
        likely="The file is a link, and so are only some of the files with its weights.",
        do="Copy all of them into one folder.",
    )


def _metadata(proto: Any) -> Mapping[str, str]:
    """The texts that the exporter saved with the model."""
    texts = {entry.key: entry.value for entry in proto.metadata_props}
    length = sum(len(key) + len(value) for key, value in texts.items())
    if length > MOST_METADATA:
        raise ModelError(
            f"The metadata of the ONNX file has {length:,} characters, more than "
            f"{MOST_METADATA:,}.",
            likely="It may be designed to exhaust memory.",
            do="Remove the metadata (metadata_props) from the file.",
        )
    return MappingProxyType(texts)


def _parsed(content: bytes, path: str | os.PathLike[str]) -> Any:
    """The content as a message of Protocol Buffers."""
    name = excerpt(os.fspath(path), 200)
    if not content:
        raise ModelError(
            f"{name} is empty.",
            likely="The download or the export was interrupted.",
            do="Download or export it again.",
        )
    onnx = library.onnx()
    from google.protobuf.message import DecodeError  # a dependency of onnx

    likely, advice = looks_like(content[:4096])
    try:
        count_fields(content, messages(onnx.ModelProto.DESCRIPTOR))
        proto = onnx.ModelProto.FromString(content)
    except TooMany as error:
        raise ModelError(
            f"{name} has more than {MOST_FIELDS:,} entries, the limit for an ONNX file.",
            likely="It may be another kind of file, or designed to exhaust memory.",
            do="Give an ONNX file of at most about 100,000 nodes.",
        ) from error
    except (DecodeError, Malformed) as error:
        raise ModelError(
            f"{name} is not an ONNX file, or is damaged.",
            likely=likely or "It is truncated: the download or the export was interrupted.",
            do=advice or (GIVE if likely else "Download or export it again."),
        ) from error
    if not proto.HasField("graph"):
        raise ModelError(
            f"{name} has no ONNX graph.",
            likely=likely or "It is another kind of file, or it is truncated.",
            do=advice or GIVE,
        )
    return proto


def _check_graph(proto: Any, file: Path) -> None:
    """Refuse a graph that computes nothing from an input."""
    graph = proto.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in weights]
    for present, kind in ((graph.node, "operator"), (inputs, "input"), (graph.output, "output")):
        if not present:
            raise ModelError(
                f"The network in {quoted(file.name, 200)} has no {kind}.",
                likely="The file is damaged, or the export was interrupted.",
                do="Export the network again.",
            )
    if proto.training_info:
        raise ModelError(
            f"{quoted(file.name, 200)} is a graph for training, with its optimiser.",
            do="Export the network for inference.",
        )


def bytes_in(part: Part) -> bytes:
    """The bytes of a part of a file."""
    return b"".join(_chunks(part))


def _chunks(part: Part) -> Iterator[bytes]:
    """The bytes of a part of a file."""
    with open_file(part.file, DATA) as file:
        file.seek(part.offset)
        left = part.length
        while left > 0 and (chunk := file.read(min(left, CHUNK))):
            left -= len(chunk)
            yield chunk
