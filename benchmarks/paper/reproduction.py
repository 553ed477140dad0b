"""Pages from the reproduction's runs: docs/reproduction.md, docs/claims.md, and the tables' JSON.

    python benchmarks/paper/tables.py --work out/reproduction

Whatever runs are there are used, finished or not; the pages say how many photos each row has.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from scorecam.metrics.statistics import Interval, interval, paired

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NETWORKS = ("lite0", "lite1", "lite2")
COMMAND = "make reproduce"

NAMES = {
    "gradient": "Gradient",
    "smoothgrad": "SmoothGrad",
    "integrated": "Integrated Gradients",
    "mask": "Mask",
    "rise": "RISE",
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "scorecam": "**Score-CAM** (`official`)",
    "scorecam:variant=algorithm1": "**Score-CAM** `algorithm1`",
    "scorecam:variant=consensus": "**Score-CAM** `consensus`",
    "scorecam:variant=increase": "Score-CAM `increase`",
    "scorecam:variant=literal": "Score-CAM `literal`",
    "xgradcam": "XGrad-CAM",
    "layercam": "Layer-CAM",
    "occlusion": "Occlusion",
    "random": "*random*",
    "uniform": "*uniform*",
    "centre": "*centre*",
    "edges": "*edges*",
    "fakecam": "*Fake-CAM*",
}
"""In the order of the tables."""

PAPER = {
    "average_drop": {
        "mask": 63.5, "rise": 47.0, "gradcam": 47.8, "gradcam++": 45.5, "scorecam": 31.5,
    },
    "average_increase": {
        "mask": 5.29, "rise": 14.0, "gradcam": 19.6, "gradcam++": 18.9, "scorecam": 30.6,
    },
    "energy_box": {
        "gradient": 41.3, "smoothgrad": 42.4, "integrated": 44.7, "mask": 56.1, "rise": 36.3,
        "gradcam": 48.1, "gradcam++": 49.3, "scorecam": 63.7,
    },
    "insertion": {"gradcam": 35.7, "gradcam++": 34.6, "scorecam": 38.6},
    "deletion": {"gradcam": 8.9, "gradcam++": 8.2, "scorecam": 7.7},
}  # fmt: skip
"""In per cent: VGG16, ILSVRC2012 validation (Wang et al. 2020, Tables 1, 2 and 3)."""

TITLES = {
    "average_drop": "Average Drop ↓",
    "average_increase": "Average Increase ↑",
    "average_gain": "Average Gain ↑",
    "insertion": "Insertion ↑",
    "deletion": "Deletion ↓",
    "energy_box": "Energy in the box ↑",
    "energy_mask": "Energy in the mask ↑",
    "hit_box": "Maximum in the box ↑",
    "iou_mask": "IoU with the mask ↑",
}
FIVE = ("average_drop", "average_increase", "insertion", "deletion", "energy_mask")
LOWER = {"average_drop", "deletion"}


# ── reading runs ─────────────────────────────────────────────────────────────────────────────

Values = dict[str, dict[str, dict[str, float]]]
"""By method, by outcome, by photo."""


@dataclass(frozen=True)
class Run:
    """What runs of one network hold together.

    Args:
        about: how each of them was run, as a sentence.
        shows: the cut-out that a photo shows: photos of one are not independent.
        undefined: by method and outcome, photos without a value.
    """

    values: Values
    groups: dict[str, str]
    about: tuple[str, ...] = ()
    shows: dict[str, str] = field(default_factory=dict[str, str])
    undefined: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])

    def of(
        self, method: str, outcome: str, keep: Callable[[str], bool] = lambda _: True
    ) -> dict[str, float]:
        """By photo."""
        found = self.values.get(method, {}).get(outcome, {})
        return {name: value for name, value in found.items() if keep(name)}

    def mean(
        self, method: str, outcome: str, keep: Callable[[str], bool] = lambda _: True
    ) -> Interval:
        """With its interval."""
        found = self.of(method, outcome, keep)
        return interval(list(found.values()), clusters=self._shown(found))

    def against(
        self, method: str, other: str, outcome: str, keep: Callable[[str], bool] = lambda _: True
    ) -> Interval:
        """The mean difference, photo by photo."""
        one, two = self.of(method, outcome, keep), self.of(other, outcome, keep)
        both = sorted(one.keys() & two.keys())
        return paired(
            [one[name] for name in both],
            [two[name] for name in both],
            clusters=self._shown(both),
        )

    def _shown(self, names: Iterable[str]) -> list[str]:
        return [self.shows.get(Path(name).stem, name) for name in names]


def load(folders: Sequence[Path], shows: dict[str, str]) -> Run:
    """Runs of one network as one; where two measured the same, the first counts."""
    values: Values = {}
    groups: dict[str, str] = {}
    about: list[str] = []
    undefined: dict[tuple[str, str], int] = {}
    for folder in folders:
        file = folder / "results.parquet"
        if not file.exists():
            continue
        about.append(_about(folder))
        for row in pq.read_table(file).to_pylist():
            method = ":".join(
                part
                for part in row["method"].split(":")
                if not part.startswith(("samples=", "steps=", "masks=", "stride="))
            )
            if row["value"] is None:
                key = method, row["metric"]
                undefined[key] = undefined.get(key, 0) + 1
                continue
            outcome = values.setdefault(method, {}).setdefault(row["metric"], {})
            outcome.setdefault(row["name"], row["value"])
            if row["group"]:
                groups[row["name"]] = row["group"]
    return Run(values, groups, tuple(about), shows, undefined)


def _about(folder: Path) -> str:
    """How a run was run."""
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    config = summary["config"]
    how = f"{config['precision used']} on {config['runtime used']}"
    return f"{folder.name}: {summary['done']} photos, {how}"


# ── words ────────────────────────────────────────────────────────────────────────────────────


def cell(found: Interval, photos: int | None = None) -> str:
    """A mean in per cent with its interval; and of how many photos, where not of `photos`."""
    if found.n == 0:
        return ""
    text = f"{100 * found.mean:.1f}"
    if not math.isnan(found.low):
        text += f" [{100 * found.low:.1f}, {100 * found.high:.1f}]"
    return text if photos in (None, found.n) else f"{text} (n = {found.n})"


def difference(found: Interval, outcome: str) -> str:
    """A difference in points, marked where the interval leaves out 0."""
    if found.n == 0:
        return ""
    better = (found.mean < 0) == (outcome in LOWER)
    mark = ("**better**" if better else "**worse**") if found.excludes(0.0) else "even"
    return f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}] {mark}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def paper_table(run: Run, outcomes: Sequence[str], keep: Callable[[str], bool]) -> str:
    """The paper's numbers beside ours, the controls last."""
    head = ["method", "photos"]
    for outcome in outcomes:
        head += [f"paper, {TITLES[outcome]}"] if outcome in PAPER else []
        head.append(f"here, {TITLES[outcome]}")
    rows: list[list[str]] = []
    for method, title in NAMES.items():
        means = [run.mean(method, outcome, keep) for outcome in outcomes]
        if not any(mean.n for mean in means):
            continue
        photos = max(mean.n for mean in means)
        row = [title, str(photos)]
        for outcome, mean in zip(outcomes, means, strict=True):
            if outcome in PAPER:
                theirs = PAPER[outcome].get(method)
                row.append("" if theirs is None else f"{theirs:g}")
            row.append(cell(mean, photos))
        rows.append(row)
    return table(head, rows)


def against_gradcam(run: Run, methods: Sequence[str], keep: Callable[[str], bool]) -> str:
    """Differences to Grad-CAM on the five measures."""
    rows: list[list[str]] = []
    for method in methods:
        found = [run.against(method, "gradcam", outcome, keep) for outcome in FIVE]
        if any(each.n for each in found):
            count = str(max(each.n for each in found))
            cells = [difference(each, o) for each, o in zip(found, FIVE, strict=True)]
            rows.append([NAMES[method], count, *cells])
    return table(["against Grad-CAM", "photos", *(TITLES[outcome] for outcome in FIVE)], rows)


def everything(_: str) -> bool:
    """No photo is left out."""
    return True


VARIANTS = (
    "scorecam",
    "scorecam:variant=algorithm1",
    "scorecam:variant=consensus",
    "scorecam:variant=increase",
    "scorecam:variant=literal",
)


# ── pages ────────────────────────────────────────────────────────────────────────────────────


def page(runs: dict[str, Run], fast: dict[str, Run], natural: dict[str, Run]) -> str:
    """docs/reproduction.md."""
    chosen = chosen_photos()
    some = next(iter(runs.values()), None)
    known_stamps = {some.shows.get(name) for name in chosen} if some else set()

    def unknown(name: str) -> bool:
        """Whether a photo shows a cut-out that none of those chosen on shows."""
        return some is not None and some.shows.get(Path(name).stem) not in known_stamps

    parts = [INTRODUCTION]
    for network, run in runs.items():
        parts += [
            f"## {network}\n",
            f"Runs: {'; '.join(run.about)}.\n",
            "### Table 1: recognition, 50 % muted\n",
            paper_table(run, ("average_drop", "average_increase", "average_gain"), everything),
            "### Table 2: energy-based pointing game\n",
            chances(run),
            paper_table(run, ("energy_box", "energy_mask", "hit_box", "iou_mask"), everything),
            "### Table 3: insertion and deletion\n",
            paper_table(run, ("insertion", "deletion"), everything),
        ]
        for size in ("small", "large"):
            inside = {name for name, group in run.groups.items() if group == size}
            if inside:
                parts += [
                    f"### Objects that are {size}\n",
                    paper_table(
                        run,
                        ("average_drop", "average_increase", "energy_box", "energy_mask"),
                        inside.__contains__,
                    ),
                ]
        parts += [
            "### The variants against Grad-CAM, photo by photo\n",
            "All photos:\n",
            against_gradcam(run, VARIANTS, everything),
            HELD_OUT,
            against_gradcam(run, VARIANTS, lambda name: Path(name).stem not in chosen),
            "The photos of cut-outs that none of those shows:\n",
            against_gradcam(run, VARIANTS, unknown),
        ]
        if network in fast:
            parts += [
                '`budget="fast"`, all photos of that run:\n',
                against_gradcam(fast[network], VARIANTS, everything),
            ]
        if network in natural:
            parts += [
                "Natural photos (energy in the boxes is in the table below):\n",
                paper_table(natural[network], (*FIVE[:4], "energy_box"), everything),
            ]
    return "\n".join(parts)


HELD_OUT = (
    "The photos on which `consensus` was not chosen, most of which show a cut-out that one of the "
    "others shows too, on another background:\n"
)


def chosen_photos() -> set[str]:
    """The photos on which `consensus` was chosen, by their names without a suffix."""
    return set((HERE / "chosen.txt").read_text("utf-8").split())


def chances(run: Run) -> str:
    """What a uniform map gets."""
    some = next(iter(run.values), "")
    box, mask = run.mean(some, "chance_box"), run.mean(some, "chance_mask")
    return (
        f"Chance, the object's share of the input: {cell(box)} for boxes, {cell(mask)} for masks.\n"
    )


INTRODUCTION = f"""# The paper's recognition and localisation experiments, run here

Generated by `{COMMAND}` (`benchmarks/paper/reproduce.py`, then `benchmarks/paper/tables.py`).
Every number is a mean over photographs in per cent, with its 95 % bootstrap interval; the 236
photographs show 68 different cut-outs, and intervals resample cut-outs, not photographs.

The paper's columns are VGG16 on ILSVRC2012 validation images, and its image lists, seeds and code
for these tables were never published: read down a column, never across. Here it is
EfficientNet-Lite0, 1 and 2 on photographs with exact masks and boxes that
`benchmarks/paper/photos/make.py` builds from Debian packages: cut-out objects pasted on other
photographs, chosen among those that Lite0 gets right. They look pasted; their truth is exact. The
paper's filters for Table 2 (one box of the class, at most half of the photo) are applied to all
three tables. Maps are of the labelled class. Score-CAM asks about every mask (`budget="exact"`)
unless said otherwise; all methods explain the same tensor, the last ReLU6, but for those that look
at pixels. (n = …) where a cell has fewer photos than its row.

Controls are in italics: a method that does not beat them shows nothing. Fake-CAM is 1 everywhere
but in one corner pixel; without the paper's muting of half of the pixels it would have nearly no
Average Drop by construction. With the muting it does as badly as the uniform map.

Runs in bfloat16 were not repeated in float32. On 100 photos of Lite1 that have Grad-CAM's
recognition in both, Average Drop differs by -0.3 points [-1.3, +0.9] in the mean and by up to 37 on
one photo, Average Increase by 0.0 [-5.0, +5.0].

Settings that differ from the papers', for time: SmoothGrad of 16 samples, Integrated Gradients of
16 steps, RISE of 1,000 masks (4,000 in its paper), Mask of 100 steps (300), occlusion at half of
the positions. Guided Backprop is not there: these networks have no plain ReLU for it to guide.

The original protocol, where you have its files:

    scorecam evaluate /data/ILSVRC2012/val --annotations /data/ILSVRC2012/bbox/val \\
        --model torchvision:vgg16 --weights vgg16-397923af.pth \\
        --preprocess benchmarks/paper/vgg16-square.json --layer features.29 \\
        --methods scorecam,gradcam,gradcam++ --metrics paper --target predicted \\
        --limit 2000 --out runs/vgg16
    # Table 2: --limit 500 --single --at-most 0.5, and all of the paper's methods
"""


# ── claims ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper's abstract, and what was measured.

    Args:
        words: in short.
        command: that gives the number.
        number: with its interval.
        verdict: holds, holds partly, does not hold, or not measured yet.
    """

    words: str
    command: str
    number: str
    verdict: str


def verdict(found: Sequence[tuple[Interval, str]]) -> str:
    """Of differences: all better, some, or none."""
    known = [(each, outcome) for each, outcome in found if each.n]
    if not known:
        return "not measured yet"
    won = [each.excludes(0.0) and (each.mean < 0) == (outcome in LOWER) for each, outcome in known]
    lost = [each.excludes(0.0) and (each.mean < 0) != (outcome in LOWER) for each, outcome in known]
    if all(won):
        return f"holds in all {len(won)} comparisons"
    if not any(won):
        return f"does not hold: worse in {sum(lost)} of {len(won)} comparisons, better in none"
    return (
        f"holds partly: of {len(won)} comparisons (rival, measure, network) better in {sum(won)}, "
        f"worse in {sum(lost)}, even in {len(won) - sum(won) - sum(lost)}"
    )


def rivals(outcome: str) -> list[str]:
    """The earlier methods that the paper compares with on this outcome."""
    return [method for method in PAPER[outcome] if method != "scorecam"]


def discrimination(pairs: dict[str, Any]) -> list[Claim]:
    """The row of Figures 4, 6 and 7, where pairs.py has measured them."""
    if not pairs:
        return []
    told: list[str] = []
    below = False
    for network, methods in pairs.items():
        ours, theirs = methods["scorecam:variant=official"]["right"], methods["gradcam"]["right"]
        below |= ours["high"] < theirs["low"]
        rates = [
            f"{name} {100 * found['mean']:.1f} % [{100 * found['low']:.1f}, "
            f"{100 * found['high']:.1f}]"
            for name, found in (("official", ours), ("Grad-CAM", theirs))
        ]
        told.append(f"{network}, {ours['n']} objects: {', '.join(rates)} right")
    said = "does not hold: below Grad-CAM" if below else "holds: not below Grad-CAM"
    if len(pairs) < len(NETWORKS):
        said += f"; {len(pairs)} of {len(NETWORKS)} networks"
    command = "python benchmarks/paper/pairs.py --photos PHOTOS"
    return [Claim("Class-discriminative (Figures 4, 6, 7)", command, "; ".join(told), said)]


def sanity(found: dict[str, Any], trained: dict[str, Any]) -> list[Claim]:
    """The row of Figure 9, where sane.py has measured it.

    Args:
        trained: what sane_training.py found on small networks.
    """
    if "cascading" not in found:
        return []
    check = found["cascading"]
    last = {
        (item["method"], item["measure"]): item
        for item in check["items"]
        if item["stage"] == check["stages"][-1]
    }
    chance = {
        (item["method"], item["measure"]): item["mean"]
        for item in check["items"]
        if item["mode"] == "chance"
    }
    photos = max(item["n"] for item in last.values())
    told: list[str] = []
    for method, said in check["verdicts"].items():
        likeness = ", ".join(
            f"{measure} {item['mean']:.2f} [{item['low']:.2f}, {item['high']:.2f}] "
            f"({chance[who, measure]:.2f})"
            for (who, measure), item in last.items()
            if who == method
        )
        told.append(f"{NAMES[method].replace('*', '')} {said}: {likeness}")
    told += [
        f"{NAMES[item['method']].replace('*', '')} "
        f"{found['variants']['verdicts'][item['method']]}: spearman {item['mean']:.2f} "
        f"[{item['low']:.2f}, {item['high']:.2f}]"
        for item in found.get("variants", {"items": []})["items"]
        if (item["stage"], item["measure"]) == (check["stages"][-1], "spearman")
    ]
    verdicts = [check["verdicts"]["scorecam"]]
    numbers = (
        f"lite0, {photos} photos, every weight drawn anew, likeness to the trained network's map "
        f"(between its maps of different photos): {'; '.join(told)}"
    )
    if trained:
        small = [trained[name]["verdicts"]["scorecam"] for name in ("shuffled", "wide")]
        verdicts += small
        numbers += (
            f"; on two small networks trained here `official` {' and '.join(small)} "
            "([training.md](training.md))"
        )
    if all(each == "passes" for each in verdicts):
        said = "holds"
    elif all(each == "fails" for each in verdicts):
        said = "does not hold"
    else:
        said = "holds partly: likeness falls, on no network below our bar of 0.5 for sure"
        if "passes" in verdicts:
            said = "holds partly: not on every network"
    command = "python benchmarks/paper/sane.py --photos PHOTOS"
    return [Claim("Passes the sanity check (Figure 9)", command, numbers, said)]


def claims(runs: dict[str, Run], figure2: dict[str, Any]) -> list[Claim]:
    """The rows of the tables and of Figure 2."""
    rows: list[Claim] = []
    chosen = chosen_photos()
    for words, outcomes in (
        ("Outperforms earlier methods in recognition (Table 1)", FIVE[:2]),
        ("Outperforms earlier methods in localisation (Table 2)", ("energy_box",)),
        ("Outperforms earlier methods in deletion and insertion (Table 3)", FIVE[2:4]),
    ):
        for method in ("scorecam", "scorecam:variant=consensus"):
            # `consensus` is judged where it was not chosen.
            held_out = method != "scorecam"

            def keep(name: str, held_out: bool = held_out) -> bool:
                return not held_out or Path(name).stem not in chosen

            found = [
                (run.against(method, rival, outcome, keep), outcome)
                for run in runs.values()
                for outcome in outcomes
                for rival in rivals(outcome)
            ]
            missing = len(runs) < len(NETWORKS) or not all(each.n for each, _ in found)
            numbers = "; ".join(
                f"{network}, n = {run.against(method, 'gradcam', outcomes[0], keep).n}: "
                + ", ".join(
                    f"{TITLES[o]} {difference(run.against(method, 'gradcam', o, keep), o)}"
                    for o in outcomes
                )
                for network, run in runs.items()
                if run.against(method, "gradcam", outcomes[0], keep).n
            )
            title = NAMES[method].replace("*", "")
            said = verdict(found) + ("; not every rival on every network" if missing else "")
            where = " (photos it was not chosen on)" if held_out else ""
            rows.append(Claim(f"{words}: {title}{where}", COMMAND, f"to Grad-CAM: {numbers}", said))
    if figure2:
        numbers = "; ".join(
            f"{network}: of two channels, the one with the larger Grad-CAM weight is worth more in "
            f"{cell(Interval(**found['concordance']))} % of pairs (50: no relation, 100: the same "
            f"order), Spearman {found['spearman']['mean']:.2f}"
            for network, found in figure2.items()
        )
        # Our criterion: the order is wrong in at least one pair of four.
        sure = all(found["concordance"]["high"] < 0.75 for found in figure2.values())
        rows.append(
            Claim(
                "Grad-CAM's weights show false confidence (Figure 2)",
                "python benchmarks/paper/figure2.py --photos PHOTOS",
                numbers,
                "holds (our criterion: under 75 %)" if sure else "does not hold",
            )
        )
    return rows


def claims_page(rows: Sequence[Claim], kept: str) -> str:
    """docs/claims.md; what other scripts wrote below the mark stays."""
    head = (
        "# The paper's claims, and what was measured\n\n"
        f"Generated by `{COMMAND}`. Numbers are differences in percentage points, photo by photo, "
        "with 95 % intervals; tables and controls are in [reproduction.md](reproduction.md), class "
        "discrimination in [discrimination.md](discrimination.md), the sanity check in "
        "[sanity.md](sanity.md).\n\n"
    )
    body = table(
        ["claim", "command", "measured here", "verdict"],
        [[row.words, f"`{row.command}`", row.number, row.verdict] for row in rows],
    )
    return head + body + kept


MARK = "\n<!-- other scripts' rows -->\n"


def main() -> None:
    """Write the pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("out/reproduction"))
    parser.add_argument("--photos", type=Path, default=Path("out/photos"))
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results/paper")
    options = parser.parse_args()

    with (options.photos / "composites/manifest.csv").open(encoding="utf-8", newline="") as file:
        shows = {row["name"]: row["stamp"] for row in csv.DictReader(file)}

    def runs_of(*groups: str) -> dict[str, Run]:
        loaded = {
            network: load([options.work / f"{network}-{group}" for group in groups], shows)
            for network in NETWORKS
        }
        return {network: run for network, run in loaded.items() if run.values}

    runs, fast, natural = (
        runs_of("cams", "cheap", "dear", "others"),
        runs_of("fast"),
        runs_of("natural"),
    )
    figure2_file = options.results / "figure2.json"
    figure2 = json.loads(figure2_file.read_text("utf-8")) if figure2_file.exists() else {}
    (ROOT / "docs/reproduction.md").write_text(page(runs, fast, natural), "utf-8")
    pairs_file = options.results / "pairs.json"
    pairs = json.loads(pairs_file.read_text("utf-8")) if pairs_file.exists() else {}
    target = ROOT / "docs/claims.md"
    old = target.read_text("utf-8") if target.exists() else ""
    kept = MARK + old.partition(MARK)[2]
    sanity_file = options.results / "sanity.json"
    checked = json.loads(sanity_file.read_text("utf-8")) if sanity_file.exists() else {}
    trained_file = options.results.parent / "sane-training.json"
    trained = json.loads(trained_file.read_text("utf-8")) if trained_file.exists() else {}
    rows = [*claims(runs, figure2), *sanity(checked, trained), *discrimination(pairs)]
    target.write_text(claims_page(rows, kept), "utf-8")
    numbers = {
        kind: {
            network: {
                method: {
                    outcome: run.mean(method, outcome).plain()
                    | {"undefined": run.undefined.get((method, outcome), 0)}
                    for outcome in outcomes
                }
                for method, outcomes in run.values.items()
            }
            for network, run in loaded.items()
        }
        for kind, loaded in (("exact", runs), ("fast", fast), ("natural", natural))
    }
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "tables.json").write_text(json.dumps(numbers, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
