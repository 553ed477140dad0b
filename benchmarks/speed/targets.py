"""What the measurements must show, and whether they do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.speed.fidelity_report import of_networks
from benchmarks.speed.report import ranged
from benchmarks.speed.rows import OURS, ROWS, Json

MEASURE = "benchmarks.speed.measure"
OVER_GRADCAM = {"lite0": 4.0, "resnet50": 2.0, "vgg16": 2.0}
OUTSIDE = 0.20
OVER_FLOOR, OVER_EAGER_FLOOR = 1.10, 1.05
SEARCH_PASSES = 8.0
OVER_BEST = 1.3
FIVE = 1.05
MEMORY_SHARE, MEMORY_MIB = 0.10, 64.0
SAME_BATCH = {"exact-eager": "floor-eager", "exact-auto": "floor-auto", "exact-half": "floor-half"}
"""Each row's memory is compared with plain passes of as many images in the same runtime."""


@dataclass(frozen=True)
class Part:
    """A number of one network or of one configuration.

    Args:
        text: the number with its spread.
        held: whether it reaches the bar; None if it has no bar.
    """

    name: str
    text: str
    held: bool | None = None

    def __str__(self) -> str:
        text = f"{self.name}: {self.text}" if self.name else self.text
        return f"**{text}**" if self.held is False else text


@dataclass(frozen=True)
class Target:
    """What must be shown: the bar in words, every part of it, and the script that measures it."""

    what: str
    bar: str
    parts: tuple[Part, ...]
    command: str = MEASURE

    @property
    def verdict(self) -> str:
        """Whether every part with a bar reaches it."""
        known = [part.held for part in self.parts if part.held is not None]
        if not known:
            return "not measured" if not self.parts else "no bar"
        missed = known.count(False)
        if not missed:
            return "reached"
        return "**not reached**" if missed == len(known) else f"**not reached in {missed}**"


def table(targets: Iterator[Target]) -> Iterator[str]:
    """The targets as Markdown, line by line."""
    yield "| what | measured | bar | | command |\n|---|---|---|---|---|"
    for each in targets:
        measured = "; ".join(map(str, each.parts))
        yield f"| {each.what} | {measured} | {each.bar} | {each.verdict} | `{each.command}` |"


def targets(speed: Json, profile: Json, fidelity: Json) -> Iterator[Target]:
    """Every target, with what was measured.

    Args:
        speed: the summarised report of measure.py.
        profile, fidelity: the reports of profile.py and fidelity.py; empty if there are none.
    """
    networks: Json = {name: entry["rows"] for name, entry in speed["networks"].items()}
    yield over_torchcam(speed, "fast16", 400, "`fast`, auto, 16 photos in one call, over torchcam")
    yield over_torchcam(speed, "fast16-cached", None, "the same, converted by an earlier process")
    yield from warm_targets(networks)
    yield over_torchcam(
        speed, "fast-cached", 150, "`fast`, one photo, new process, cache warm, over torchcam"
    )
    yield over_torchcam(speed, "fast", None, "the same with an empty cache")
    yield over_first_gradcam(networks)
    for key, limit in (("half", OVER_FLOOR), ("auto", OVER_FLOOR), ("eager", OVER_EAGER_FLOOR)):
        yield over_floor(networks, f"exact-{key}", f"floor-{key}", limit)
    yield from fidelity_targets(fidelity)
    yield busy_target(networks)
    yield from (memory_target(networks, key, other) for key, other in SAME_BATCH.items())
    yield five_target(networks)
    yield search_target(profile)


def over_torchcam(speed: Json, key: str, limit: float | None, what: str) -> Target:
    """The geometric mean over the networks counts; each network is shown."""
    parts: list[Part] = []
    if mean := speed["geometric_mean"].get(key):
        held = None if limit is None else mean["ratio"] >= limit
        parts.append(Part("geometric mean", f"{mean['ratio']:.3g}×", held))
    for name, entry in speed["networks"].items():
        if ratio := entry["rows"].get(key, {}).get("ratio"):
            parts.append(Part(name, f"{ranged(ratio, '.3g')}×"))
    return Target(what, "–" if limit is None else f"≥ {limit}×", tuple(parts))


def warm_targets(networks: Json) -> Iterator[Target]:
    """The warm loop against Grad-CAM, and its share outside the runtime's passes."""
    warm = {name: rows["warm"] for name, rows in networks.items() if "warm" in rows}
    gradcam = [
        Part(
            name,
            f"{ranged(row['over_gradcam'], '.2f')}×",
            row["over_gradcam"]["median"] <= OVER_GRADCAM[name] if name in OVER_GRADCAM else None,
        )
        for name, row in warm.items()
    ]
    bar = ", ".join(f"{name} ≤ {limit:g}×" for name, limit in OVER_GRADCAM.items())
    yield Target("`fast`, warm, photo after photo, over Grad-CAM, warm", bar, tuple(gradcam))
    outside = [
        Part(name, ranged(row["outside"], ".0%"), row["outside"]["median"] <= OUTSIDE)
        for name, row in warm.items()
    ]
    what = "`fast`, warm: share of the time that is not the runtime's passes"
    yield Target(what, f"≤ {OUTSIDE:.0%}", tuple(outside))


def over_first_gradcam(networks: Json) -> Target:
    """One photo in a new process over the first call of Grad-CAM in a new process."""
    parts = [
        Part(name, f"{ranged(rows['fast-cached']['over_gradcam'], '.2f')}×")
        for name, rows in networks.items()
        if "over_gradcam" in rows.get("fast-cached", {})
    ]
    what = "the same with a warm cache, over the first call of Grad-CAM in a new process"
    return Target(what, "–", tuple(parts))


def over_floor(networks: Json, key: str, other: str, limit: float) -> Target:
    """Time over as many plain passes, for each network."""
    parts = [
        Part(
            f"{name} ({rows[key]['runtime']})",
            ranged(rows[other]["floor"], ".3f"),
            rows[other]["floor"]["median"] <= limit,
        )
        for name, rows in networks.items()
        if key in rows and other in rows
    ]
    what = f"{ROWS[key].label}: time over as many passes of its own runtime"
    return Target(what, f"≤ {limit:.2f}", tuple(parts))


def fidelity_targets(fidelity: Json) -> Iterator[Target]:
    """Fidelity of each network and variant, and what results say where it is missed."""
    parts, said = [], []
    for name, kind, figures in of_networks(fidelity if fidelity.get("unseen") else {}):
        if kind.startswith("fast"):
            text = " / ".join(f"{number:.4f}" for number in figures["pearson"])
            variant = f"{name}, {kind.removeprefix('fast ')}"
            parts.append(Part(variant, f"{text}, IoU {figures['iou'][0]:.3f}", figures["reached"]))
            short, known = figures["short"], figures["short_known"]
            said.append(Part(variant, f"{known} of {short}", known == short))
    yield Target(
        "fidelity over photos not used for tuning: Pearson median / 5th percentile / worst, and "
        "median top-20 % IoU",
        "≥ 0.998 / 0.99 / 0.97, IoU ≥ 0.93",
        tuple(parts),
        "benchmarks.speed.fidelity",
    )
    what = (
        "of the maps with a Pearson below 0.97, those that state an error as large as the true one"
    )
    yield Target(what, "all", tuple(said), "benchmarks.speed.fidelity")


def busy_target(networks: Json) -> Target:
    """The choice of a runtime after a busy machine, relative to the best that can be named."""
    parts = [
        Part(
            name,
            f"{ranged(rows['busy']['over_best'], '.2f')}× of {rows['busy']['best']}",
            rows["busy"]["over_best"]["max"] <= OVER_BEST,
        )
        for name, rows in networks.items()
        if "busy" in rows
    ]
    what = (
        "choice of runtime under a busy second process, then idle: over the best after ten photos"
    )
    return Target(what, f"≤ {OVER_BEST}×", tuple(parts))


def memory_target(networks: Json, key: str, other: str) -> Target:
    """Peak memory above plain passes of the same batch size, for each network."""
    parts: list[Part] = []
    for name, rows in networks.items():
        if key in rows and other in rows:
            plain = rows[other]["peak_mib"]["median"]
            more = rows[key]["peak_mib"]["median"] - plain
            limit = max(MEMORY_SHARE * plain, MEMORY_MIB)
            parts.append(Part(name, f"{more:.0f} MiB over {plain:.0f}", more <= limit))
    what = f"{ROWS[key].label}: memory over plain passes"
    return Target(what, f"≤ {MEMORY_MIB:g} MiB or {MEMORY_SHARE:.0%}", tuple(parts))


def five_target(networks: Json) -> Target:
    """Five classes relative to one, for each network: the worst of our rows."""
    parts: list[Part] = []
    for name, rows in networks.items():
        ratios = {key: rows[key]["five"] for key in OURS if "five" in rows.get(key, {})}
        if ratios:
            worst = max(ratios, key=lambda key: ratios[key]["median"])
            same = all(rows[key]["five_same_passes"] for key in ratios)
            held = same and ratios[worst]["median"] <= FIVE
            text = f"{ratios[worst]['median']:.3f} ({ROWS[worst].label})"
            parts.append(Part(name, text if same else f"{text}, more passes", held))
    return Target("five classes over one: the row with the most", f"≤ {FIVE}", tuple(parts))


def search_target(profile: Json) -> Target:
    """Choosing and predicting, in the time of single passes."""
    parts = [
        Part(
            f"{name}, {'one' if kind == 'one' else each['photos']}",
            f"{each[kind]['search in passes']:.1f}",
            each[kind]["search in passes"] <= SEARCH_PASSES,
        )
        for name, each in profile.get("networks", {}).items()
        for kind in ("one", "many")
    ]
    return Target(
        "choosing and predicting a photo's masks, in the time of one masked image",
        f"≤ {SEARCH_PASSES:g} passes",
        tuple(parts),
        "benchmarks.speed.profile",
    )


# ── what a reader wants to know ──────────────────────────────────────────────────────────────────


def first_lines(speed: Json) -> Iterator[str]:
    """How long a photo takes, how many times faster that is, and how far from Grad-CAM."""
    networks: Json = {name: entry["rows"] for name, entry in speed["networks"].items()}
    machine, means = speed["machine"], speed["geometric_mean"]
    where = machine.get("gpu", f"{machine['threads']} threads of an {machine['processor']}")
    warm = {name: rows["warm"] for name, rows in networks.items() if "warm" in rows}
    single = warm or {name: rows["fast"] for name, rows in networks.items() if "fast" in rows}
    how = "in a warm process" if warm else "in a new process"
    yield f"* `fast` takes {listed(single, 'seconds', '.2g', ' s')} per photo {how}, on {where}."
    key = "fast-cached" if "fast-cached" in means else "fast"
    if {"fast16", key} <= set(means):
        peer = max(set(means) & {"torchcam", "grad-cam"}, key=lambda name: means[name]["ratio"])
        times = [means[name]["ratio"] / means[peer]["ratio"] for name in ("fast16", key)]
        yield (
            f"* This is {times[0]:.0f} times as fast as {peer}, the fastest other package, for "
            f"sixteen photos at once, and {times[1]:.0f} times for one photo in a new process."
        )
    if warm:
        ratios = listed(warm, "over_gradcam", ".2g", "")
        yield f"* It takes {ratios} times as long as Grad-CAM, another method, on the same tensors."


def listed(rows: Mapping[str, Json], part: str, form: str, unit: str) -> str:
    """The median of each network, such as "0.2 s (lite0), 0.5 s (vgg16)"."""
    return ", ".join(f"{row[part]['median']:{form}}{unit} ({name})" for name, row in rows.items())
