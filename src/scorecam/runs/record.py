"""The records of a run: one JSON file per photo and method. Only this module writes and reads them.

Any record may be damaged or edited. The reader checks every field and raises `Unreadable` with the
reason; such a record is left out and counted, or computed again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from scorecam.datasets.sample import Label
from scorecam.errors import RunError
from scorecam.io.json_values import in_range, is_count, is_id, is_list, is_object, is_text
from scorecam.io.reading import Kind, parse_json, read_bytes
from scorecam.metrics.metric import Bounds
from scorecam.metrics.names import METRICS
from scorecam.runs.config import SCHEMA
from scorecam.runs.seals import EDITED, unbroken

RECORD = Kind("a record of a run", 2**23, RunError)

GROUPS = ("small", "large")
NOT_FOUND = "ObjectNotFound"
"""The kind of "failure" of a photo in which a task does not find the object."""

LARGE = 1e100
"""A bound on measured numbers; their squares can be summed."""

MANY = 10_000
"""A bound on the values, curve points and objects of a photo."""


class Unreadable(Exception):
    """Why a record or a map is left out: a noun phrase, to be shown after a count such as "3 ×"."""


# ── the kinds of records ─────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class ClassScore:
    """A class of the model, and its probability for a photo."""

    index: int
    name: str | None
    probability: float | None


@dataclass(frozen=True)
class MapInfo:
    """The map that belongs to a record.

    Args:
        grid: its shape; None if the file gives none.
        maximum: of the heatmap before it was scaled.
        sha256: of the map's file; None in runs without checksums.
    """

    grid: tuple[int, ...] | None
    maximum: float
    sha256: str | None = None


@dataclass(frozen=True)
class Failure:
    """The error that ended an explanation.

    Args:
        kind: the name of its class.
    """

    kind: str
    message: str


@dataclass(frozen=True)
class MeasuredRecord:
    """One photo explained by one method, and the metrics of its heatmap.

    Args:
        id: of the photo.
        name: of the photo.
        label: its class in the data set.
        right: whether the prediction is the label; None without a label.
        share: the share of the photo that the object covers.
        group: "small" or "large", by that share.
        box: of the target, x1 y1 x2 y2 in pixels of the photo, if a task explains a box.
        values: by outcome.
        undefined: by outcome, why it has no value.
        timings: seconds, seconds of the explanation alone, and forward passes.
        remarks: about how the photo was read.
    """

    id: str
    name: str
    label: Label | None
    method: str
    target: ClassScore
    predicted: ClassScore
    right: bool | None = None
    head: str | None = None
    share: float | None = None
    group: str | None = None
    box: tuple[float, ...] | None = None
    values: Mapping[str, float] = field(default_factory=dict[str, float])
    undefined: Mapping[str, str] = field(default_factory=dict[str, str])
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict[str, Sequence[float]])
    map: MapInfo | None = None
    timings: Mapping[str, float] = field(default_factory=dict[str, float])
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class FailureRecord:
    """One photo that one method could not explain."""

    id: str
    name: str
    label: Label | None
    method: str
    failure: Failure
    timings: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def not_found(self) -> bool:
        """Whether the model's task did not find the object: a result, and no failure of the run."""
        return self.failure.kind == NOT_FOUND


@dataclass(frozen=True)
class LikenessRecord:
    """One photo of a sanity check: how similar another network's heatmaps are to the original ones.

    Args:
        method: the name of the network.
        values: by method and similarity; None where a heatmap is constant.
        failure: why there are no values.
    """

    id: str
    name: str
    method: str
    values: Mapping[str, Mapping[str, float | None]]
    failure: Failure | None = None


ItemRecord: TypeAlias = MeasuredRecord | FailureRecord
AnyRecord = TypeVar("AnyRecord", bound=MeasuredRecord | FailureRecord | LikenessRecord)


# ── writing ──────────────────────────────────────────────────────────────────────────────────


def record_json(record: MeasuredRecord | FailureRecord | LikenessRecord) -> dict[str, Any]:
    """A record as JSON values, in the order of the file."""
    first = {"schema": SCHEMA, "id": record.id, "name": record.name}
    match record:
        case LikenessRecord():
            failure = {} if record.failure is None else {"failure": asdict(record.failure)}
            return first | {"method": record.method, "values": dict(record.values)} | failure
        case FailureRecord():
            timings = {"timings": dict(record.timings)} if record.timings else {}
            own = {"label": record.label, "method": record.method}
            return first | own | {"failure": asdict(record.failure)} | timings
        case MeasuredRecord():
            return first | _measured_json(record)


def _measured_json(record: MeasuredRecord) -> dict[str, Any]:
    values = {
        "label": record.label,
        "method": record.method,
        "target": asdict(record.target),
        "predicted": asdict(record.predicted),
        "right": record.right,
        "head": record.head,
        "share": record.share,
        "group": record.group,
        **({} if record.box is None else {"box": list(record.box)}),
        "values": dict(record.values),
        "undefined": dict(record.undefined),
        "curves": dict(record.curves),
    }
    if record.map is not None:
        known = {key: value for key, value in asdict(record.map).items() if value is not None}
        values["map"] = known
    values["timings"] = dict(record.timings)
    return values | ({"remarks": list(record.remarks)} if record.remarks else {})


# ── reading ──────────────────────────────────────────────────────────────────────────────────


def read_record(
    file: Path,
    method: str,
    sample: str,
    parse: Callable[[dict[str, Any]], AnyRecord],
    *,
    has_checksum: bool,
) -> AnyRecord:
    """The record of one photo and one method.

    Args:
        parse: `parse_item` or `parse_likeness`.
        has_checksum: whether every record of the run has a checksum.

    Raises:
        FileNotFoundError: there is no such file.
        Unreadable: it is damaged or was edited.
    """
    values = read_object(file, RECORD, "damaged record")
    own = values.get("schema") == SCHEMA and values.get("method") == method
    if not own or values.get("id") != sample or "name" not in values:
        raise Unreadable("damaged record")
    if not unbroken(values, always=has_checksum):
        raise Unreadable(EDITED)
    return parse(values)


def parse_item(values: dict[str, Any]) -> ItemRecord:
    """A record of `evaluate` from its JSON values. Raises Unreadable."""
    name, label = _name_and_label(values)
    sample, method = values["id"], values["method"]
    if "failure" in values:
        return FailureRecord(sample, name, label, method, failure=_failure(values["failure"]))
    measured = _numbers(values)
    target, predicted = parse_class(values.get("target")), parse_class(values.get("predicted"))
    right = values.get("right")
    if not (right is None or isinstance(right, bool)):
        raise Unreadable("record that contradicts itself")
    group, undefined, share = (values.get(key) for key in ("group", "undefined", "share"))
    if group not in (None, *GROUPS) or not _are_texts(undefined):
        raise Unreadable("record with a field of the wrong type")
    if share is not None and not in_range(share, 0.0, 1.0):
        raise Unreadable("record with a number out of range")
    curves = values.get("curves")
    if curves is not None and not (is_object(curves) and all(map(_is_curve, curves.values()))):
        raise Unreadable("record with an invalid curve")
    return MeasuredRecord(
        id=sample,
        name=name,
        label=label,
        method=method,
        target=target,
        predicted=predicted,
        right=right,
        head=values.get("head"),
        share=share,
        group=group,
        box=_box(values.get("box")),
        values=measured,
        undefined=undefined or {},
        curves=curves or {},
        map=_map_info(values.get("map")),
    )


def parse_likeness(values: dict[str, Any]) -> LikenessRecord:
    """A record of a sanity check from its JSON values. Raises Unreadable."""
    name, _ = _name_and_label(values)
    sample, network = values["id"], values["method"]
    if "failure" in values:
        return LikenessRecord(sample, name, network, values={}, failure=_failure(values["failure"]))
    by_method = values.get("values")
    if not is_object(by_method) or not all(map(is_object, by_method.values())):
        raise Unreadable("damaged record")
    numbers = [number for each in by_method.values() for number in each.values()]
    if not all(number is None or in_range(number, -1.0, 1.0) for number in numbers):
        raise Unreadable("record with a number out of range")
    return LikenessRecord(sample, name, network, by_method)


def parse_class(values: object) -> ClassScore:
    """A class of the model from its JSON values.

    Raises:
        Unreadable: the index, name or probability is invalid.
    """
    if not is_object(values):
        raise Unreadable("record without its classes")
    index, name, probability = (values.get(key) for key in ("index", "name", "probability"))
    if not is_count(index) or not (name is None or is_text(name)):
        raise Unreadable("record with an invalid class")
    if probability is not None and not in_range(probability, 0.0, 1.0):
        raise Unreadable("record with a number out of range")
    return ClassScore(index, name, probability)


def _name_and_label(values: dict[str, Any]) -> tuple[str, Label | None]:
    name, label = values["name"], values.get("label")
    if not is_text(name) or not (label is None or is_id(label)):
        raise Unreadable("record with an invalid name or label")
    return name, label


def _failure(values: object) -> Failure:
    kind, message = (
        (values.get("kind"), values.get("message")) if is_object(values) else (None, None)
    )
    if not is_text(kind) or not is_text(message):
        raise Unreadable("damaged record")
    return Failure(kind, message)


def _numbers(values: dict[str, Any]) -> Mapping[str, float]:
    """The outcomes of a record."""
    measured = values.get("values")
    if not is_object(measured):
        raise Unreadable("damaged record")
    bounded = _bounded("fraction")
    if values.get("head") != "value":
        bounded |= _bounded("probability")
    for name, value in measured.items():
        limits = (0.0, 1.0) if name in bounded else (-LARGE, LARGE)
        if not in_range(value, *limits, slack=1e-4):
            raise Unreadable("record with a number out of range")
    return measured


@cache
def _bounded(bounds: Bounds) -> frozenset[str]:
    """The outcomes of our metrics with these bounds."""
    outcomes = (outcome for metric in METRICS.values() for outcome in metric.outcomes)
    return frozenset(outcome.name for outcome in outcomes if outcome.bounds == bounds)


def _map_info(values: object) -> MapInfo | None:
    if not is_object(values):
        return None
    grid, maximum = values.get("grid"), values.get("maximum")
    digest = values.get("sha256")
    if "sha256" in values and not is_text(digest):
        digest = ""  # matches no file
    is_number = isinstance(maximum, int | float)
    return MapInfo(
        grid=tuple(grid) if is_list(grid, 8) and all(map(is_count, grid)) else None,
        maximum=maximum if is_number and in_range(maximum, -LARGE, LARGE) else 0.0,
        sha256=digest,
    )


def _box(values: object) -> tuple[float, ...] | None:
    if values is None:
        return None
    if not is_list(values, 4) or len(values) != 4:
        raise Unreadable("record with an invalid box")
    if not all(in_range(edge, -LARGE, LARGE) for edge in values):
        raise Unreadable("record with an invalid box")
    return tuple(map(float, values))


def _are_texts(values: object) -> bool:
    return values is None or (is_object(values) and all(map(is_text, values.values())))


def _is_curve(values: object) -> bool:
    return is_list(values, MANY) and all(in_range(each, -LARGE, LARGE) for each in values)


# ── JSON files that may be damaged ───────────────────────────────────────────────────────────


def read_object(file: Path, kind: Kind, damaged: str) -> dict[str, Any]:
    """The JSON object in a file; lone surrogates are escaped, as in the texts that runs write.

    Args:
        damaged: the reason to report if it is not readable.

    Raises:
        FileNotFoundError: there is no such file.
        Unreadable: it is not a regular file, is too large, or is not a JSON object.
    """
    try:
        content = read_bytes(file, kind)
        values = parse_json(content)
        if b"\\u" in content or b"\xed" in content:
            text = json.dumps(values, ensure_ascii=False)
            values = parse_json(_SURROGATE.sub(lambda half: rf"\\u{ord(half[0]):04x}", text))
    except (RunError, ValueError, RecursionError) as error:
        raise_if_missing(error)
        raise Unreadable(damaged) from error
    if not is_object(values):
        raise Unreadable(damaged)
    return values


_SURROGATE = re.compile("[\\ud800-\\udfff]")


def raise_if_missing(error: Exception) -> None:
    """Raises FileNotFoundError if that is the cause of an error."""
    if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
        raise FileNotFoundError from error
