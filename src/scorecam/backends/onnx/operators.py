"""The versions and operators that an ONNX file needs, compared with the installed runtime."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from scorecam.backends.onnx import library
from scorecam.backends.onnx.contents import STANDARD, graphs
from scorecam.base.wording import excerpt, quoted
from scorecam.errors import ModelError


@functools.cache
def known() -> Mapping[str, Mapping[str, int]]:
    """The operators of the installed ONNX Runtime: domain → name → its first version."""
    found: dict[str, dict[str, int]] = {}
    for schema in library.schemas():
        names = found.setdefault(schema.domain, {})
        names[schema.name] = min(schema.since_version, names.get(schema.name, 1 << 30))
    return found


@functools.cache
def latest() -> int:
    """The newest opset of ONNX's own operators that the installed ONNX Runtime runs."""
    return max(schema.since_version for schema in library.schemas() if schema.domain in STANDARD)


def check_versions(proto: Any, newest_ir: int) -> None:
    """Refuse a format or an opset that is newer than the installed libraries.

    Raises:
        ModelError: it is.
    """
    if proto.ir_version > newest_ir:
        raise _too_new(f"has version {proto.ir_version} of the format (IR)", f"{newest_ir}")
    if not proto.opset_import and not proto.functions:
        raise ModelError(
            "The ONNX file does not state the versions of its operators (opset_import).",
            likely="It is damaged, or was written by hand.",
            do="Export the network again.",
        )
    for opset in proto.opset_import:
        if opset.domain in STANDARD and not 1 <= opset.version <= latest():
            raise _too_new(f"needs opset {opset.version}", f"1 to {latest()}")


def _too_new(what: str, highest: str) -> ModelError:
    runtime = library.onnxruntime()
    return ModelError(
        f"The ONNX file {what}, but onnxruntime {excerpt(runtime.__version__)} "
        f"and onnx {excerpt(library.onnx().__version__)} support {highest}.",
        likely="It was exported for a newer runtime. Files are not converted.",
        do="pip install --upgrade onnxruntime onnx, or export the network with an older opset.",
    )


def check_operators(proto: Any) -> None:
    """Refuse operators that the installed ONNX Runtime does not have.

    Raises:
        ModelError: there is one.
    """
    own = {(function.domain, function.name) for function in proto.functions}
    versions = {
        "" if opset.domain in STANDARD else opset.domain: opset.version
        for opset in proto.opset_import
    }
    used = {
        ("" if node.domain in STANDARD else node.domain, node.op_type)
        for graph in graphs(proto)
        for node in graph.node
    }
    for domain, name in sorted(used - own):
        first = known().get(domain, {}).get(name)
        if first is None:
            raise _unknown(domain, name)
        if not domain and first > versions.get(domain, first):
            raise ModelError(
                f"The ONNX file uses the operator {quoted(name)}, which opset "
                f"{versions[domain]} does not have; it came with opset {first}.",
                likely="The file was edited, or its exporter has a bug.",
                do="Export the network again.",
            )


def _unknown(domain: str, name: str) -> ModelError:
    where = f" of the domain {quoted(domain)}" if domain else ""
    domains: Iterable[str] = (
        name for name in known() if name and not name.startswith(("com.ms.", "com.microsoft.n"))
    )
    return ModelError(
        f"The ONNX file uses the operator {quoted(name)}{where}, which onnxruntime "
        f"{excerpt(library.onnxruntime().__version__)} does not have.",
        likely="It is a custom operator. scorecam never loads libraries of custom operators, as "
        "they can run code.",
        do=f"Export the network with operators of ONNX or of {', '.join(sorted(domains))}.",
    )
