"""What a file of the results holds, as named entries that can be compared to the last bit."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pyarrow import parquet

Entries = dict[str, str]
"""What is compared: a name, and a value as text. Tensors and pixels: their shape and a digest."""

FILES_LEFT_OUT = {
    "*.md": "tables with headings and remarks in words; summary.json has the same numbers",
    "curves.png": "a plot with titles in words; the items hold the numbers",
    "drop-increase.png": "a plot with titles in words; summary.json has the numbers",
    "differences.png": "a plot with titles in words; summary.json has the numbers",
    "focus.png": "a plot with titles in words; compare.json has the numbers",
    "cascade-*.png": "a plot with titles in words; maps/ holds the maps",
}
"""Files whose contents are not compared, and why. They must be there on both sides."""

KEYS_LEFT_OUT = {
    "seconds": "a timing",
    "timings": "timings",
    "versions": "version strings",
    "checksum": "a hash that covers sentences; what it covers is compared itself",
    "checksums": "hashes of tables and plots, which hold sentences",
    "remarks": "sentences; their number may change with them",
}
"""Keys that are not compared, at any depth."""

VERSIONS = {
    "scorecam": "a version string in a bank's record",
    "torch": "the same",
    "python": "the same",
}
"""Keys that are not compared where their value is a text."""

SENTENCES = {
    "sentence": "what a note, a finding or a verdict says",
    "evidence": "a finding's numbers in words",
    "effect": "a finding's size in words; `size` is compared",
    "why": "why a layer is the default, or not",
    "message": "the text of an error; its kind and the exit code are compared",
    "undefined": "why a metric has no value; which metrics is compared",
    "note": "the same in results.parquet",
    "words": "sentences about one photo",
    "failed": "gates in words; the exit code is compared",
}
"""Keys whose texts are not compared; that they are there, and any number below them, is."""

BANK_LEFT_OUT = {"sha256": "covers seconds and remarks"}
"""Keys of a bank's record alone."""

PAGE = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)
PAGE_LEFT_OUT = {
    "facts": "numbers under names in words; the explanation's own numbers are compared",
    "words": "sentences",
    "title": "a finding in words",
}


def entries_of(path: Path) -> Entries:
    """What a file holds; empty where its contents are left out.

    Raises:
        KeyError: there is no reader for such files.
    """
    if _is_left_out(path.name):
        return {}
    return READERS[path.suffix](path)


def _is_left_out(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in FILES_LEFT_OUT)


def plain(value: Any, left_out: dict[str, str], place: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf of a JSON document, by its place."""
    if isinstance(value, dict):
        yield f"{place}.", "an object"
        for key, inner in value.items():
            if key in KEYS_LEFT_OUT or key in left_out:
                continue
            if _is_left_out(key):  # its digest
                continue
            if key in VERSIONS and isinstance(inner, str):
                continue
            kept = _without_words(inner) if key in SENTENCES else inner
            yield from plain(kept, left_out, f"{place}.{key}")
    elif isinstance(value, list):
        yield f"{place}[]", f"{len(value)} long"
        for index, inner in enumerate(value):
            yield from plain(inner, left_out, f"{place}[{index}]")
    else:
        yield place, repr(value)  # a float's repr is exact


def _without_words(value: Any) -> Any:
    """The same with every text replaced."""
    if isinstance(value, str):
        return "a sentence"
    if isinstance(value, list):
        return [_without_words(inner) if isinstance(inner, str) else inner for inner in value]
    if isinstance(value, dict):
        return {key: _without_words(inner) for key, inner in value.items()}
    return value


def array(values: np.ndarray[Any, Any]) -> str:
    """An array as text that differs where one bit does."""
    return _bytes(f"{values.dtype} {values.shape}", np.ascontiguousarray(values).tobytes())


def _bytes(kind: str, content: bytes) -> str:
    return f"{kind} {hashlib.sha256(content).hexdigest()[:32]}"


# ── one reader for each kind of file ─────────────────────────────────────────────────────────


def _safetensors(path: Path) -> Entries:
    """Read without the library under test, and without torch: a header, then the bytes."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    entries: Entries = {}
    for name, text in header.pop("__metadata__", {}).items():
        entries.update(plain(json.loads(text), BANK_LEFT_OUT, f"record {name}"))
    for name, tensor in header.items():
        first, last = (start + offset for offset in tensor["data_offsets"])
        kind = f"{tensor['dtype']} {tensor['shape']}"
        entries[f"tensor {name}"] = _bytes(kind, content[first:last])
    return entries


def _json(path: Path) -> Entries:
    return dict(plain(json.loads(path.read_text("utf-8")), {}))


def _npy(path: Path) -> Entries:
    return {"tensor": array(np.load(path))}


def _pixels(path: Path) -> Entries:
    """A picture; of an overlay only the photo: the legend below it is in words."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    if not path.name.endswith(".methods.png"):
        ground = (pixels == pixels[-1, -1]).all(axis=(1, 2))
        pixels = pixels[: int(ground.argmax()) if ground.any() else None]
    return {"tensor": array(pixels)}


def _parquet(path: Path) -> Entries:
    table = parquet.read_table(path)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    schema = {f"column {field.name}": str(field.type) for field in table.schema}
    return {**schema, **dict(plain(columns, {}))}


def _page(path: Path) -> Entries:
    """The maps and pictures in a page; its words are left out."""
    found = PAGE.search(path.read_text("utf-8"))
    assert found is not None, f"{path} has no data"
    return dict(plain(json.loads(found.group(1)), PAGE_LEFT_OUT))


READERS: dict[str, Callable[[Path], Entries]] = {
    ".safetensors": _safetensors,
    ".json": _json,
    ".npy": _npy,
    ".png": _pixels,
    ".parquet": _parquet,
    ".html": _page,
}
