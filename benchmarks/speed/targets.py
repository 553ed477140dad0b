"""The targets of speed and memory, and whether the measurements reach them."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.speed.rows import OURS, ROWS, Json

SPEED_TARGETS = {"exact-eager": 3, "exact-auto": 3, "exact-half": 15, "fast": 40, "fast16": 200}
FLOOR_TARGETS = {"eager": 1.05, "openvino": 1.15}
FIVE_TARGET = 1.05
MEMORY_SHARE, MEMORY_MIB = 0.10, 64.0
SAME_BATCH = {"exact-eager": "floor-eager", "exact-auto": "floor-auto", "exact-half": "floor-half"}
"""Each row's memory is compared with plain passes of as many images in the same runtime."""


def targets(report: Json) -> list[Json]:
    """Every target, with the measured number and whether it is reached."""
    networks: Json = {name: e["rows"] for name, e in report["networks"].items() if "rows" in e}
    first = [*speed_targets(report, networks), *floor_targets(networks)]
    return [*first, *five_targets(networks), *memory_targets(networks)]


def target(what: str, number: float | None, limit: float, *, least: bool, note: str = "") -> Json:
    """One target; `least`: the limit is a lower one."""
    held = None
    if number is not None:
        held = number >= limit if least else number <= limit
    return {"what": what, "number": number, "limit": limit, "held": held, "note": note}


def speed_targets(report: Json, networks: Json) -> Iterator[Json]:
    """Speed relative to the fastest other package. The geometric mean counts."""
    for key, limit in SPEED_TARGETS.items():
        mean = report["geometric_mean"].get(key)
        each = {
            n: r[key]["ratio"]["median"] for n, r in networks.items() if "ratio" in r.get(key, {})
        }
        note = ""
        if each:
            worst = min(each, key=lambda name: each[name])
            note = f"least: {worst} {each[worst]:.3g}×"
        number = mean["ratio"] if mean else None
        yield target(
            f"{ROWS[key].label}: times the fastest peer", number, limit, least=True, note=note
        )


def floor_targets(networks: Json) -> Iterator[Json]:
    """Time relative to as many plain passes, for each network."""
    for name, rows in networks.items():
        for key in (key for key, row in ROWS.items() if row.of):
            if ROWS[key].of not in rows:
                continue
            runtime = rows[ROWS[key].of]["runtime"]
            floor = rows.get(key, {}).get("floor")
            yield target(
                f"{name}, {ROWS[ROWS[key].of].label} ({runtime}): time over plain passes",
                floor["median"] if floor else None,
                FLOOR_TARGETS.get(runtime, FLOOR_TARGETS["openvino"]),
                least=False,
                note=f"{floor['min']:.3f} to {floor['max']:.3f}" if floor else "not measured",
            )


def five_targets(networks: Json) -> Iterator[Json]:
    """Time of five classes relative to one, for each network."""
    for name, rows in networks.items():
        for key in (key for key in OURS if "five" in rows.get(key, {})):
            same = "passes equal" if rows[key]["five_same_passes"] else "PASSES DIFFER"
            ratio = rows[key]["five"]["median"]
            yield target(
                f"{name}, {ROWS[key].label}: five classes over one",
                ratio,
                FIVE_TARGET,
                least=False,
                note=same,
            )


def memory_targets(networks: Json) -> Iterator[Json]:
    """Peak memory above plain passes of the same batch size, for each network."""
    for name, rows in networks.items():
        for key, other in SAME_BATCH.items():
            if key not in rows:
                continue
            plain_row = rows.get(other)
            more = plain = None
            limit = MEMORY_MIB
            if plain_row is not None:
                plain = plain_row["peak_mib"]["median"]
                more = rows[key]["peak_mib"]["median"] - plain
                limit = max(MEMORY_SHARE * plain, MEMORY_MIB)
            eager = rows.get("plain8" if rows[key]["batch_size"] == "8" else "plain32")
            note = "" if plain is None else f"{plain:.0f} MiB in {ROWS[other].label}"
            if eager is not None:
                note += f"; {eager['peak_mib']['median']:.0f} MiB in {eager['label']}"
            what = f"{name}, {ROWS[key].label}: MiB beyond plain passes"
            yield target(what, more, limit, least=False, note=note.removeprefix("; "))
