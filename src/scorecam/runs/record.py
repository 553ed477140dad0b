"""What a run's folder holds, as checked values: any file in it may be damaged, or edited.

One reader for everybody: `evaluate` that goes on, `compare`, `sanity` and `audit` take records,
maps and the configuration from here. What is not as a run writes it is `Unreadable`, with the
reason in words; it is left out and counted, or made again.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from scorecam.base.wording import excerpt
from scorecam.errors import RunError
from scorecam.io.arrays import read_npy
from scorecam.io.json_values import (
    in_range,
    is_count,
    is_encodable,
    is_id,
    is_list,
    is_object,
    is_text,
)
from scorecam.io.reading import Kind, parse_json, read_bytes
from scorecam.metrics.names import parse_metrics
from scorecam.runs.config import SCHEMA, Config
from scorecam.runs.seals import EDITED, unbroken

Record = dict[str, Any]

Plane = Annotated[npt.NDArray[np.float64], "u v"]

CONFIG = Kind("a run's run.json", 2**24, RunError)
RECORD = Kind("a record of a run", 2**23, RunError)
ENTRY = Kind("an entry of a run's gallery", 2**26, RunError)
MAP = Kind("a map of a run", 2**26, RunError)

SHARES = frozenset({"energy_box", "energy_mask", "chance_box", "chance_mask"})
"""Values that are parts of a whole, whatever the model's answers are."""

GROUPS = ("small", "large")
LARGE = 1e100
"""Beyond any number that is measured; squares of it can be summed."""

MANY = 10_000
"""Values, points of a curve, objects of a photo: what nobody has more of."""


class Unreadable(Exception):
    """Why something is left out, as it stands after "3 ×"."""


def read_object(file: Path, kind: Kind, damaged: str) -> dict[str, Any]:
    """The JSON object in a file; halves of characters are written out, as runs do it.

    Args:
        damaged: what is said of it otherwise.

    Raises:
        FileNotFoundError: there is none.
        Unreadable: it is no regular file, too large, or holds something else.
    """
    try:
        content = read_bytes(file, kind)
        found = parse_json(content)
        if b"\\u" in content or b"\xed" in content:
            text = json.dumps(found, ensure_ascii=False)
            found = parse_json(_HALVES.sub(lambda half: rf"\\u{ord(half[0]):04x}", text))
    except (RunError, ValueError, RecursionError) as error:
        _missing(error)
        raise Unreadable(damaged) from error
    if not is_object(found):
        raise Unreadable(damaged)
    return found


_HALVES = re.compile("[\\ud800-\\udfff]")


def _missing(error: Exception) -> None:
    if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
        raise FileNotFoundError from error


# ── run.json ─────────────────────────────────────────────────────────────────────────────────


def read_config(file: Path) -> Config | None:
    """What `run.json` says; None where there is none.

    Raises:
        RunError: it is damaged, was edited, or is of another schema.
    """
    try:
        found = parse_json(read_bytes(file, CONFIG))
        if not is_object(found) or "schema" not in found:
            raise ValueError("it names no schema")
    except (RunError, ValueError) as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return None
        raise _damaged(file, error) from error
    if type(found["schema"]) is not int or found["schema"] != SCHEMA:
        raise RunError(
            f"{excerpt(file, 150)} has the schema {excerpt(found['schema'], 40)}; "
            f"this version reads {SCHEMA}.",
            likely="Another version of scorecam wrote it.",
            do="Use that version, or another folder.",
        )
    if not method_names(found):
        raise RunError(
            f"{excerpt(file, 150)} names no methods.",
            likely="It was edited, or is no run's.",
            do="Give the folder of scorecam evaluate.",
        )
    used = [found.get("runtime used"), found.get("precision used")]
    if used != [None, None] and not all(map(is_text, used)):
        raise _damaged(file, ValueError("it does not say what ran the model"))
    if not is_encodable(json.dumps(found, ensure_ascii=False)):
        raise _damaged(file, ValueError("it holds what is no character"))
    return found


def _damaged(file: Path, error: Exception) -> RunError:
    why = error.what if isinstance(error, RunError) else f"{excerpt(error)}."
    return RunError(
        f"{excerpt(file, 150)} cannot be read: {why}",
        likely="It was edited, or is no run's.",
        do="Give another folder with --out.",
    )


def method_names(config: Config) -> list[str]:
    """The names of a run's methods, by which its folders are called; empty where one is wrong."""
    listed = config.get("methods")
    known = listed if is_list(listed, MANY) else []
    names = [each.get("name") if is_object(each) else None for each in known]
    good = [name for name in names if is_text(name) and _can_be_a_folder(name)]
    return good if len(good) == len(names) == len(set(good)) else []


def _can_be_a_folder(name: str) -> bool:
    return is_encodable(name) and bool(name.strip(".")) and "\0" not in name


# ── records ──────────────────────────────────────────────────────────────────────────────────


def read_record(
    file: Path, method: str, sample: str, *, likeness: bool = False, sealed: bool = False
) -> Record:
    """A record of one photo and method, every field of which is as a run writes it.

    Args:
        likeness: whether it is of a sanity check, whose values are by method and measure.
        sealed: whether its run gives every record a checksum.

    Raises:
        FileNotFoundError: there is none.
        Unreadable: it is damaged or was edited.
    """
    record = read_object(file, RECORD, "damaged record")
    own = record.get("schema") == SCHEMA and record.get("method") == method
    if not own or record.get("id") != sample or "name" not in record:
        raise Unreadable("damaged record")
    if not unbroken(record, always=sealed):
        raise Unreadable(EDITED)
    name, label = record["name"], record.setdefault("label", None)
    if not is_text(name) or not (label is None or is_id(label)):
        raise Unreadable("record whose name or label is none")
    if "failure" in record:
        _check_failure(record["failure"])
    elif likeness:
        _check_likeness(record.get("values"))
    else:
        _check_values(record)
        _check_rest(record)
    return record


def _check_failure(failure: Any) -> None:
    said = [failure.get("kind"), failure.get("message")] if is_object(failure) else [None]
    if not all(is_text(each) for each in said):
        raise Unreadable("damaged record")


def _check_likeness(values: Any) -> None:
    methods = list(values.values()) if is_object(values) else None
    if methods is None or not all(map(is_object, methods)):
        raise Unreadable("damaged record")
    numbers = [number for each in methods for number in each.values()]
    if not all(number is None or in_range(number, -1.0, 1.0) for number in numbers):
        raise Unreadable("record with a number out of its range")


def _check_values(record: Record) -> None:
    values = record.get("values")
    if not is_object(values):
        raise Unreadable("damaged record")
    bounded = SHARES if record.get("head") == "value" else SHARES | _fractions()
    for name, value in values.items():
        limits = (0.0, 1.0) if name in bounded else (-LARGE, LARGE)
        if not in_range(value, *limits, slack=1e-4):
            raise Unreadable("record with a number out of its range")


@cache
def _fractions() -> frozenset[str]:
    """The outcomes that lie in [0, 1] where the model's answers are probabilities: all of ours."""
    return frozenset(each.name for metric in parse_metrics("all") for each in metric.outcomes)


def _check_rest(record: Record) -> None:
    check_column(record.get("target"))
    check_column(record.get("predicted"))
    right = record.setdefault("right", None)
    if not (right is None or isinstance(right, bool)):
        raise Unreadable("record that contradicts itself")
    if record.get("group") not in (None, *GROUPS) or not _are_texts(record.get("undefined")):
        raise Unreadable("record with a field of another kind")
    if record.get("share") is not None and not in_range(record["share"], 0.0, 1.0):
        raise Unreadable("record with a number out of its range")
    curves = record.get("curves")
    if curves is not None and not (is_object(curves) and all(map(_is_curve, curves.values()))):
        raise Unreadable("record with a curve that is none")


def check_column(found: Any) -> None:
    """That something is a class of the model: its index, name and probability.

    Raises:
        Unreadable: it is not.
    """
    if not is_object(found):
        raise Unreadable("record without its classes")
    name, probability = found.setdefault("name", None), found.setdefault("probability", None)
    if not is_count(found.get("index")) or not (name is None or is_text(name)):
        raise Unreadable("record with a class that is none")
    if probability is not None and not in_range(probability, 0.0, 1.0):
        raise Unreadable("record with a number out of its range")


def _are_texts(found: Any) -> bool:
    return found is None or (is_object(found) and all(is_text(each) for each in found.values()))


def _is_curve(found: Any) -> bool:
    return is_list(found, MANY) and all(in_range(each, -LARGE, LARGE) for each in found)


# ── maps ─────────────────────────────────────────────────────────────────────────────────────


def read_map(file: Path) -> npt.NDArray[Any]:
    """A map's file as a run writes it; a header that promises more than there is costs no memory.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged.
    """
    try:
        return read_npy(file, MAP)
    except RunError as error:
        _missing(error)
        raise ValueError(error.what) from error


def read_plane(file: Path) -> Plane:
    """A map on a grid of rows and columns, finite.

    Raises:
        Unreadable: there is none, or it is not what a run writes.
    """
    try:
        found = read_map(file)
    except FileNotFoundError as error:
        raise Unreadable("missing map") from error
    except ValueError as error:
        raise Unreadable("damaged map") from error
    if found.dtype.kind != "f" or found.ndim != 2:
        raise Unreadable("map that is no plane of numbers")
    heat = found.astype(np.float64)
    if not heat.size or not np.isfinite(heat).all():
        raise Unreadable("map with values outside its range")
    return heat


def read_scaled(file: Path) -> Plane:
    """The same, of a map that was divided by its maximum.

    Raises:
        Unreadable: as for `read_plane`.
    """
    heat = read_plane(file)
    if float(np.abs(heat).max()) > 1.01:
        raise Unreadable("map with values outside its range")
    return heat
