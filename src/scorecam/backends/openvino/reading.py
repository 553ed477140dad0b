"""Checks of files of OpenVINO and TFLite, which may come from an attacker, before they are read."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final
from xml.parsers import expat

from scorecam.base.wording import excerpt, quoted
from scorecam.errors import ModelError, WeightsError
from scorecam.io.reading import Kind, open_file, read_bytes

XML: Final = Kind("a model of OpenVINO (.xml)", 2**28, ModelError)
BIN: Final = Kind("the weights of a model of OpenVINO (.bin)", 2**43, WeightsError)
TFLITE: Final = Kind("a TFLite file", 2**31 - 1, ModelError)

MOST_ELEMENTS: Final = 5_000_000
"""Elements of the XML: a layer takes about fifteen."""

DEEPEST: Final = 200
"""Of elements in elements. Files of OpenVINO have fewer than twenty."""

BITS: Final = {
    "f64": 64, "f32": 32, "f16": 16, "bf16": 16, "f8e4m3": 8, "f8e5m2": 8, "f8e8m0": 8, "f4e2m1": 4,
    "i64": 64, "i32": 32, "i16": 16, "i8": 8, "i4": 4, "u64": 64, "u32": 32, "u16": 16, "u8": 8,
    "u6": 6, "u4": 4, "u3": 3, "u2": 2, "u1": 1, "nf4": 4, "boolean": 8,
}  # fmt: skip
"""Bits of an element of each type but strings."""

CHUNK: Final = 1 << 22


@dataclass(frozen=True)
class IrFile:
    """A model of OpenVINO that was checked.

    Args:
        xml: its graph.
        weights: the file of its weights; None if it has none.
        identity: SHA-256 of both.
        metadata: the texts in its `model_info`.
    """

    xml: bytes
    weights: Path | None
    identity: str
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class TfliteFile:
    """A TFLite file that was checked.

    Args:
        identity: its SHA-256.
    """

    identity: str


# ── OpenVINO ─────────────────────────────────────────────────────────────────────────────────────


@dataclass
class _Found:
    """What is found in the XML.

    Attributes:
        path: the open elements.
        root: the name of the outermost element.
        count: of elements.
        end: of the last constant in the weights.
        metadata: texts.
        layer: the attributes of the open layer.
    """

    path: list[str] = field(default_factory=list[str])
    root: str = ""
    count: int = 0
    end: int = 0
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    layer: dict[str, str] = field(default_factory=dict[str, str])

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element starts."""
        self.count += 1
        if self.count > MOST_ELEMENTS or len(self.path) > DEEPEST:
            raise _damaged("has too many or too deep elements", "It may exhaust memory.")
        self.root = self.root or name
        if name == "layer":
            self.layer = attributes
        if name == "data" and self.path[-1:] == ["layer"] and self.layer.get("type") == "Const":
            self._check_constant(attributes)
        if self.path[-2:] == ["rt_info", "model_info"] and "value" in attributes:
            self.metadata[name] = attributes["value"]
        self.path.append(name)

    def stop(self, name: str) -> None:
        """An element ends."""
        del name
        self.path.pop()

    def _check_constant(self, attributes: Mapping[str, str]) -> None:
        """Compare the bytes of a constant with its shape and type."""
        called = quoted(self.layer.get("name", ""))
        texts = [attributes.get(key, "") for key in ("offset", "size")]
        if not all(re.fullmatch(r"[0-9]{1,18}", text) for text in texts):
            raise _damaged(f"has the constant {called} without a place in the weights")
        offset, size = map(int, texts)
        kind, shape = attributes.get("element_type", ""), attributes.get("shape", "")
        if kind != "string":
            axes = re.findall(r"[0-9]+", shape)
            plain = re.fullmatch(r"[0-9, ]*", shape) and max(map(len, axes), default=0) <= 18
            if kind not in BITS or not plain or len(axes) > 64:
                raise _damaged(f"has the constant {called} of an unknown type or shape")
            needed = (math.prod(map(int, axes)) * BITS[kind] + 7) // 8
            if size != needed:
                raise _damaged(
                    f"has the constant {called} of {size:,} bytes, but its shape and type need "
                    f"{needed:,}"
                )
        self.end = max(self.end, offset + size)


def read_ir(path: str | os.PathLike[str]) -> IrFile:
    """Check a model of OpenVINO and its weights, which are in the file with the same name.

    Raises:
        ModelError: the file is missing, damaged or malicious.
        WeightsError: the file with the weights is missing or too short.
    """
    xml = read_bytes(path, XML)
    found = _parsed(xml, path)
    digest = hashlib.sha256(xml)
    file = Path(path)
    weights = file.with_suffix(".bin")
    if not found.end:
        return IrFile(xml, None, digest.hexdigest(), MappingProxyType(found.metadata))
    if not os.path.lexists(weights):
        raise WeightsError(
            f"There is no file {quoted(weights.name, 200)} in the folder of "
            f"{excerpt(file.name, 200)}, which keeps its weights there.",
            likely="Only one of the files was copied or downloaded.",
            do="Put it there, and do not rename it.",
        )
    with open_file(weights, BIN) as content:
        size = os.fstat(content.fileno()).st_size
        if size < found.end:
            raise WeightsError(
                f"{excerpt(weights, 200)} is too short: the model needs {found.end:,} bytes, but "
                f"it has {size:,}.",
                likely="The file is truncated, or belongs to another .xml file.",
                do="Copy or download both files again.",
            )
        while chunk := content.read(CHUNK):
            digest.update(chunk)
    return IrFile(xml, weights, digest.hexdigest(), MappingProxyType(found.metadata))


def _parsed(xml: bytes, path: str | os.PathLike[str]) -> _Found:
    """What is in the XML. Declarations of types and entities are refused."""
    found = _Found()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_declaration
    parser.EntityDeclHandler = _refuse_declaration
    parser.StartElementHandler = found.start
    parser.EndElementHandler = found.stop
    name = excerpt(os.fspath(path), 200)
    try:
        parser.Parse(xml, True)  # noqa: FBT003  (it takes no keyword)
    except expat.ExpatError as error:
        raise ModelError(
            f"{name} is not valid XML: {excerpt(error)}.",
            likely="It is truncated, or another kind of file.",
            do="Download or export it again.",
        ) from error
    if found.root != "net":
        raise ModelError(
            f"{name} is no model of OpenVINO: its first element is {quoted(found.root)}.",
            likely="It is another kind of XML.",
            do="Give the .xml file that openvino.save_model wrote.",
        )
    return found


def _refuse_declaration(*_: object) -> None:
    raise _damaged("declares a document type or an entity", "It may be designed to exhaust memory.")


def _damaged(what: str, likely: str = "The file is damaged, or was edited.") -> ModelError:
    return ModelError(
        f"The XML of the OpenVINO model {what}.",
        likely=likely,
        do="Save the model again with openvino.save_model.",
    )


# ── TFLite ───────────────────────────────────────────────────────────────────────────────────────


def read_tflite(path: str | os.PathLike[str]) -> TfliteFile:
    """Check the size and the first bytes of a TFLite file. OpenVINO checks the tables in it.

    Raises:
        ModelError: it is missing or another kind of file.
    """
    content = read_bytes(path, TFLITE)
    if content[4:8] != b"TFL3":
        raise ModelError(
            f"{excerpt(os.fspath(path), 200)} is no TFLite file.",
            likely="It is another kind of file, or the download was interrupted.",
            do="Download or export it again.",
        )
    return TfliteFile(hashlib.sha256(content).hexdigest())
