"""Thresholds and rates from what `trust.py` measured: no model runs here.

    python benchmarks/trust_report.py WORK --fit       # thresholds, from the fitting set alone
    python benchmarks/trust_report.py WORK             # rates, table and figure, as scorecam judges

The fit: `good` of each evidence is a quantile of what trained networks' maps measure, of whichever
family of networks is worse at it; `bad` lies beyond it by a multiple of the distance to a farther
quantile. The two quantiles and the multiple are the same for all evidence: three numbers, chosen on
a grid so that on the fitting set 90 % of the sound networks' maps are accepted in every family, and
then as many of the spoilt ones' refused as can be; of those that are alike, the one with the widest
margin on both sides of the cut.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from scorecam.metrics.statistics import wilson
from scorecam.trust.verdict import NOTES, REFUSED, RULES, WEAK, Rule

HERE = Path(__file__).resolve().parent
Record = dict[str, Any]
Rules = Mapping[str, Rule]

QUANTILES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
FARTHER = (0.95, 0.98, 1.0)
STRETCH = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
ACCEPTED = 0.9
"""Of sound maps, in every family, on the fitting set."""

SURE = 0.9
"""From which probability on an answer counts as confident."""

LOWER_IS_WORSE = {"agreement", "standing", "random", "centre", "steady", "moves"}
PROBABILITY = frozenset({"improbable"})


def read(work: Path, part: str) -> list[Record]:
    """The records of one part, of every family that is there."""
    found: list[Record] = []
    for path in sorted(work.glob(f"*-{part}.json")):
        found += json.loads(path.read_text("utf-8"))
    return found


def sound(record: Record) -> bool:
    """Whether its map is to be accepted."""
    return str(record["kind"]).startswith(("trained", "further: right"))


def further(record: Record) -> bool:
    """Whether its network was trained further on a few photos: told apart from the others."""
    return str(record["kind"]).startswith("further")


def split(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Networks as they come or spoilt, and those that were trained further."""
    return [r for r in records if not further(r)], [r for r in records if further(r)]


def doubt(record: Record, rules: Rules, without: frozenset[str] = PROBABILITY) -> float:
    """The doubt that `scorecam.check` has of a record's map."""
    total = sum(NOTES[note] for note in record["notes"] if note not in without)
    for code, value in record["values"].items():
        if code not in without and not isinstance(value, str):
            total += rules[code].doubt(value)
    return total


# ── fitting ──────────────────────────────────────────────────────────────────────────────────


def thresholds(records: Sequence[Record], near: float, far: float, stretch: float) -> Rules:
    """Rules from the quantiles of sound networks' maps."""
    found: dict[str, Rule] = {}
    families = sorted({record["family"] for record in records})
    for code, rule in RULES.items():
        sign = -1 if code in LOWER_IS_WORSE else 1
        each = [
            [sign * r["values"][code] for r in records if sound(r) and r["family"] == family]
            for family in families
        ]
        good = max(np.quantile(values, near) for values in each)
        end = max(np.quantile(values, far) for values in each)
        bad = good + stretch * max(end - good, 1e-3)
        found[code] = Rule(sign * round(good, 4), sign * round(bad, 4), rule.says)
    return found


def fitted(records: Sequence[Record]) -> tuple[Rules, tuple[float, float, float]]:
    """The best rules on the grid, and their three numbers."""

    def worth(settings: tuple[float, float, float]) -> tuple[float, float, float]:
        rules = thresholds(records, *settings)
        kept = min(
            shares([r for r in records if r["family"] == family], rules)[1]
            for family in {record["family"] for record in records}
        )
        good = np.array([doubt(record, rules) for record in records if sound(record)])
        bad = np.array([doubt(record, rules) for record in records if not sound(record)])
        margin = min(
            np.quantile(bad[bad >= REFUSED], 0.05) - REFUSED, REFUSED - np.quantile(good, 0.9)
        )
        return min(kept, ACCEPTED), float((bad >= REFUSED).mean()), float(margin)

    grid = [each for each in product(QUANTILES, FARTHER, STRETCH) if each[1] > each[0]]
    best = max(grid, key=worth)
    return thresholds(records, *best), best


def shares(records: Sequence[Record], rules: Rules) -> tuple[float, float]:
    """The share of spoilt networks' maps that is refused, and of sound ones' that is not."""
    refused = [doubt(record, rules) >= REFUSED for record in records if not sound(record)]
    kept = [doubt(record, rules) < REFUSED for record in records if sound(record)]
    return float(np.mean(refused)), float(np.mean(kept))


# ── judging ──────────────────────────────────────────────────────────────────────────────────


def rate(records: Sequence[Record], passes: Callable[[Record], bool]) -> dict[str, Any]:
    """How many do, as a share with its Wilson interval."""
    return wilson(sum(map(passes, records)), len(records)).plain()


def roc(records: Sequence[Record], without: frozenset[str]) -> tuple[list[Any], float]:
    """Points (sound refused, spoilt refused) from the strictest doubt to the mildest; the area."""
    good = [doubt(r, RULES, without) for r in records if sound(r)]
    bad = [doubt(r, RULES, without) for r in records if not sound(r)]
    cuts = [math.inf, *sorted({*good, *bad}, reverse=True)]
    points = [
        (float(np.mean([d >= cut for d in good])), float(np.mean([d >= cut for d in bad])))
        for cut in cuts
    ]
    wins = [(b > g) + 0.5 * (b == g) for b in bad for g in good]
    return points, float(np.mean(wins))


def _spoilt(kind: str) -> str:
    """What was done to a network that knows nothing."""
    known = {"memorised": "memorised", "further": "shuffled labels"}
    return next((name for start, name in known.items() if kind.startswith(start)), "randomised")


def groups(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by what the check is asked to tell apart, then by kind and family."""
    found: dict[str, list[Record]] = {}
    for record in records:
        ours = "accept" if sound(record) else "refuse"
        names = [ours, f"{ours}: {record['kind']}", f"{ours}: {record['family']}"]
        if not sound(record):
            kind = _spoilt(record["kind"])
            names += [f"refuse: {kind}", f"refuse: {kind}, {record['family']}"]
            if (record["probability"] or 0.0) > SURE:
                names += [f"refuse: {kind}, confident", names[-1] + ", confident"]
        for name in names:
            found.setdefault(name, []).append(record)
    return found


def summary(records: Sequence[Record], without: frozenset[str]) -> dict[str, Any]:
    """Rates of every group and the area under the curve."""
    rates: dict[str, Any] = {}
    for name, part in sorted(groups(records).items()):
        good = name.startswith("accept")
        rates[name] = rate(part, lambda r, g=good: (doubt(r, RULES, without) < REFUSED) == g)
        if good:
            rates[f"{name}, usable"] = rate(part, lambda r: doubt(r, RULES, without) < WEAK)
    points, area = roc(records, without)
    return {"rates": rates, "auc": area, "roc": points}


def ablation(records: Sequence[Record]) -> dict[str, Any]:
    """The same two rates with one evidence left out, and with one alone."""
    found: dict[str, Any] = {}
    for code in RULES:
        others = frozenset(RULES) - {code} | PROBABILITY | frozenset(NOTES) - {"flat"}
        for name, without in ((f"without {code}", PROBABILITY | {code}), (f"only {code}", others)):
            told = summary(records, without)
            found[name] = {
                "refused": told["rates"]["refuse"]["mean"],
                "accepted": told["rates"]["accept"]["mean"],
                "auc": told["auc"],
            }
    return found


def draw(records: Sequence[Record], apart: Sequence[Record], path: Path) -> None:
    """The ROC of the judged maps, and the doubt of every one of them and of those told apart."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.family": "sans-serif", "font.size": 10, "axes.edgecolor": "#888888"})
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 4.8), dpi=100, width_ratios=(1, 1.35), layout="constrained"
    )
    _draw_roc(left, records)
    _draw_doubts(right, [*records, *apart])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor="white")


def _draw_roc(axes: Any, records: Sequence[Record]) -> None:
    kinds = {
        "all": (lambda _: True, "#0b6e99"),
        "randomised": (lambda r: not r["kind"].startswith("memorised"), "#4d7c0f"),
        "shuffled labels": (lambda r: r["kind"].startswith("memorised"), "#c2410c"),
    }
    for name, (chosen, colour) in kinds.items():
        part = [r for r in records if sound(r) or chosen(r)]
        points, area = roc(part, PROBABILITY)
        axes.plot(*zip(*points, strict=True), color=colour, label=f"{name}: AUC {area:.3f}")
        bad = [doubt(r, RULES) >= REFUSED for r in part if not sound(r)]
        good = [doubt(r, RULES) >= REFUSED for r in part if sound(r)]
        axes.plot([np.mean(good)], [np.mean(bad)], "o", color=colour)
    axes.axhline(0.95, color="#bbbbbb", lw=0.8, ls=":")
    axes.axvline(0.10, color="#bbbbbb", lw=0.8, ls=":")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xlabel("share of sound networks' maps refused")
    axes.set_ylabel("share of spoilt networks' maps refused")
    axes.set_title("Without the rule about probability", fontsize=10)
    axes.legend(loc="lower right", frameon=False, fontsize=9)


def _draw_doubts(axes: Any, records: Sequence[Record]) -> None:
    kinds = sorted(
        {r["kind"] for r in records},
        key=lambda kind: (not kind.startswith("trained"), kind.startswith("further"), kind),
    )
    random = np.random.default_rng(0)
    for place, kind in enumerate(reversed(kinds)):
        for garments, marker in ((False, "o"), (True, "^")):
            own = [
                min(doubt(r, RULES), 4.0)
                for r in records
                if r["kind"] == kind and (r["family"] == "garments") == garments
            ]
            jitter = place + random.uniform(-0.25, 0.25, len(own))
            colour = "#0b6e99" if sound({"kind": kind}) else "#c2410c"
            axes.plot(own, jitter, marker, color=colour, ms=3.5, alpha=0.55, mew=0)
    axes.plot([], [], "o", color="#555555", ms=4, label="photographs, EfficientNet-Lite")
    axes.plot([], [], "^", color="#555555", ms=4, label="garments, a small network")
    for cut, name in ((WEAK, "weak"), (REFUSED, "don't show")):
        axes.axvline(cut, color="#888888", lw=0.8)
        axes.text(cut + 0.03, len(kinds) - 0.4, name, fontsize=8, color="#555555")
    axes.set_yticks(range(len(kinds)), list(reversed(kinds)), fontsize=9)
    axes.set(ylim=(-0.6, len(kinds) + 0.3), xlim=(-0.05, 4.05))
    axes.set_xlabel("doubt (4 and more at 4)")
    axes.legend(loc="upper center", frameon=False, fontsize=8, bbox_to_anchor=(0.5, -0.13), ncols=2)


def table(told: Mapping[str, Any], other: Mapping[str, Any] | None = None) -> str:
    """Rates in Markdown, the rule about probability off and, where given, on."""
    lines = ["| maps | n | rule off | 95 % interval | rule on |", "|---|---|---|---|---|"]
    for name, found in told["rates"].items():
        on = "" if other is None else f"{other['rates'][name]['mean']:.1%}"
        lines.append(
            f"| {name} | {found['n']} | {found['mean']:.1%} | {found['low']:.1%} to "
            f"{found['high']:.1%} | {on} |"
        )
    return "\n".join([*lines, "", f"AUC {told['auc']:.3f}"])


def _by_kind(records: Sequence[Record]) -> dict[str, list[float]]:
    """The doubt of each map, by the kind of its network."""
    found: dict[str, list[float]] = {}
    for record in records:
        found.setdefault(record["kind"], []).append(round(doubt(record, RULES), 2))
    return found


def _rounded(value: Any) -> Any:
    """Plain values with numbers to four digits."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value


def main() -> None:
    """Fit, or judge."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--fit", action="store_true", help="thresholds only")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "trust.json")
    parser.add_argument(
        "--figure", type=Path, default=HERE.parent / "docs" / "images" / "trust.png"
    )
    options = parser.parse_args()
    fitting, _ = split(read(options.work, "fit"))
    rules, settings = fitted(fitting)
    print(f"quantile {settings[0]}, farther {settings[1]}, stretch {settings[2]}")
    for code, rule in rules.items():
        print(f"    {code}: good {rule.good:.3f}, bad {rule.bad:.3f}")
    print("refused {:.1%}, accepted {:.1%} on the fitting set".format(*shares(fitting, rules)))
    if options.fit:
        return
    parts: dict[str, Any] = {}
    if confident := read(options.work, "confident"):
        parts["confident"] = {"records": confident, "doubts": _by_kind(confident)}
        print("\nspoilt, and made confident:", json.dumps(parts["confident"]["doubts"]))
    for part in ("fit", "judge"):
        records, few = split(read(options.work, part))
        off, on = summary(records, PROBABILITY), summary(records, frozenset())
        print(f"\n## {part}\n\n{table(off, on)}")
        parts[part] = {"rule off": off, "rule on": on, "records": records}
        parts[part]["trained further"] = {**summary(few, PROBABILITY), "records": few}
        print(f"\ntrained further:\n\n{table(parts[part]['trained further'])}")
    judged = parts["judge"]["records"]
    parts["judge"]["one evidence"] = ablation(judged)
    for name, row in parts["judge"]["one evidence"].items():
        print(f"{name:20} " + "  ".join(f"{key} {value:.3f}" for key, value in row.items()))
    report = {
        "command": "python benchmarks/trust.py --photos DIR --work WORK, then trust_report.py WORK",
        "thresholds": {code: [rule.good, rule.bad] for code, rule in RULES.items()},
        "fit": {"near": settings[0], "far": settings[1], "stretch": settings[2]},
        "parts": parts,
    }
    options.out.write_text(json.dumps(_rounded(report)) + "\n", "utf-8")
    draw(judged, parts["judge"]["trained further"]["records"], options.figure)


if __name__ == "__main__":
    main()
