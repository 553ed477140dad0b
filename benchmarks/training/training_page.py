"""Write docs/training.md from the results in benchmarks/results/training/.

python -m benchmarks.training.training_page
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.common.markdown import table, with_interval
from benchmarks.common.paths import DOCS, RESULTS

Results = dict[str, Any]

EPOCHS, SHORT = 16, 8
"""Epochs of the two trainings; see epochs.py."""

DATA, SHUFFLED = "data", "trained on shuffled labels"
CHANCE, ANOTHER = "chance", "another photo"
"""Names of modes and stages in the results of `scorecam.sanity`."""

FIRST, LAST = "head", "stem.0"
"""The first and the last stage of the small networks, from the output down."""

CENTRED = "scorecam:variant=centred"

HEAD = """# Trainings, and faults that a release gate catches

Generated from the results in `benchmarks/results/training/`. The two scripts below write them; they
resume an unfinished run. The networks are small and learn Fashion-MNIST
(`benchmarks/common/fashion.py`): a canvas of 40 by 40 pixels shows one garment at a random place,
among pieces of other garments. Brackets hold 95 % intervals. *Focus* is the share of a map's energy
inside the garment's box. *Similarity* is the correlation of two maps of the same class.

    python -m benchmarks.training.gates --work DIR --photos PHOTOS
    python -m benchmarks.training.randomisation --work DIR
"""

FOCUS = """Figure 10 of the paper shows two maps, of a network before and after training. It
suggests that maps can show when a training has converged. Here this is measured with the weights of
every epoch on 200 test canvases and the exact budget. Epoch 0 is untrained.
"""

PICTURE = "![Focus and accuracy, epoch by epoch](images/training.png)\n"

CONVERGED = """The learning rate falls to zero in both trainings. The training of 8 epochs came
first. In its last step the focus still changed: the interval excludes 0, although the accuracies of
both epochs overlap. That training ended too early. The schedule was doubled once, which gave the
training above.
"""

GATE = """Similarity and agreement compare the last epoch with the one before; their limits were
chosen before anything was measured. Focus and accuracy may not fall below the lower ends of the
intervals of the epoch before, rounded down. *head shifted*: the rows of the last layer are shifted
by one class, as when a list of labels is off by one. *head re-initialised*: the last layer is
re-initialised. *input turned*: a preprocessing error turns each photo by 90°; the weights are the
same.
"""

LITE = """12 photographs, the exact budget, the runtime that `auto` chooses. In bfloat16 the maps
have a mean correlation of 0.9999. With the last block re-initialised, all 12 maps are flat. There
is nothing to compare, and an undefined value never passes a gate.
"""

SANITY = """`scorecam.sanity` on 40 test canvases. The maps of the trained network are compared with
those of a copy that is re-initialised from the head down to a stage, for the class that the trained
network predicts. A method passes if the interval is below 0.5 once every stage is re-initialised.
*Different photos* compares the trained network's own maps of one canvas and the next.
"""

SANITY_TITLES = {
    "shuffled": "A network, and one that memorised shuffled labels",
    "own labels": "For comparison: one that memorised the correct labels of the same canvases",
    "wide": "A wide network without normalisation and biases",
}
SANITY_TEXTS = {
    "shuffled": "The trained network is right on {accuracy:.3f} of 2,000 test canvases. The other "
    "network knows {memorised:.3f} of 400 shuffled labels, and is right on {its accuracy:.3f} of "
    "the test canvases. {seeds} random seeds per stage.\n",
    "own labels": "The other network knows {memorised:.3f} of the labels of the same 400 canvases, "
    "and is right on {its accuracy:.3f} of the test canvases. {seeds} random seed per stage.\n",
    "wide": "Right on {accuracy:.3f} of the test canvases. {seeds} random seed per stage.\n",
}


def epochs_table(results: Results) -> str:
    """Accuracy and focus of every epoch."""
    rows = [
        [_epoch(model), with_interval(accuracy), with_interval(focus)]
        for model, accuracy, focus in zip(
            results["models"], results["accuracy"], results["focus"], strict=True
        )
    ]
    return table(["weights", "accuracy", "focus"], rows)


def _epoch(model: str) -> str:
    return model.partition("weights=")[2].partition(".safetensors")[0]


def gates_table(comparisons: Mapping[str, Results]) -> str:
    """One row per comparison: the second model against the first."""
    head = ["second against first", "exit", "similarity", "same prediction", "focus gained"]
    rows = []
    for name, comparison in comparisons.items():
        pair = comparison["items"][0]
        undefined = f" ({pair['undefined']} undefined)" if pair["undefined"] else ""
        rows.append(
            [
                name,
                str(comparison["exit"]),
                with_interval(pair["similarity"]) + undefined,
                with_interval(pair["agreement"]),
                with_interval(pair["focus"], "+"),
                with_interval(comparison["accuracy"][1]),
                with_interval(comparison["focus"][1]),
                ", ".join(sentence.split()[0] for sentence in comparison["failed"]),
            ]
        )
    return table([*head, "accuracy", "focus", "not met"], rows)


def sanity_table(check: Results) -> str:
    """Spearman by stage, then the verdicts."""
    points = [
        point
        for point in check["points"]
        if point["measure"] == "spearman" and point["mode"] in ("cascading", DATA, CHANCE)
    ]
    methods = list(check["verdicts"])
    cells: dict[str, dict[str, str]] = {}
    for point in points:
        undefined = f" ({point['undefined']} undefined)" if point["undefined"] else ""
        stage = {DATA: "*the other network*", CHANCE: "*different photos*"}.get(
            point["mode"], point["stage"]
        )
        cells.setdefault(stage, {})[point["method"]] = with_interval(point) + undefined
    rows = [[stage, *(row[method] for method in methods)] for stage, row in cells.items()]
    rows.append(["verdict, weights", *(check["verdicts"][method] for method in methods)])
    if verdicts := check["data verdicts"]:
        rows.append(["verdict, the other network", *(verdicts[method] for method in methods)])
    return table(["Spearman, re-initialised down to", *(f"`{name}`" for name in methods)], rows)


def similarity(check: Results, method: str, stage: str) -> str:
    """The mean and interval of Spearman's correlation, for one method at one stage."""
    return with_interval(_point(check, method, stage))


def _point(check: Results, method: str, stage: str) -> Results:
    """Spearman's mean of one method at one stage."""
    key = (method, stage, "spearman")
    [point] = [
        point
        for point in check["points"]
        if (point["method"], point["stage"], point["measure"]) == key
    ]
    return point


def conclusions(results: Results) -> str:
    """The conclusions from the checks."""
    small, wide, own = results["shuffled"], results["wide"], results["own labels"]
    return f"""### Conclusions

* Edges fail everywhere, as a control must.
* Guided Backprop depends little on the upper layers. With the head re-initialised, its maps keep a
  correlation of {similarity(small, "guided", FIRST)}; those of the plain gradient
  keep {similarity(small, "gradient", FIRST)}. It still passes on the network with
  normalisation and biases, where re-initialising the lower layers lowers it to
  {similarity(small, "guided", LAST)}. On the wide network it fails with
  {similarity(wide, "guided", LAST)}, and so does the gradient with
  {similarity(wide, "gradient", LAST)}. Where the canvas is black both maps are zero,
  whatever the weights, and these ties raise the rank correlation. The network was designed to show
  this effect: with a centred input, the same layers let it pass.
* **Score-CAM fails on both networks.** On the first network it fails with two seeds; with the first
  seed alone ({similarity(own, "scorecam", LAST)}) it is undecided. Its weights are
  probabilities and never negative. Where they differ little, the map is close to the sum of the
  activations. The correlation of the trained networks' maps with that sum is
  {with_interval(results["equal weights"])} and {with_interval(wide["equal weights"])}.
  After so few layers, the sum seems to show the garment whatever the network has learned. Even maps
  of different photos have a correlation of {similarity(small, "scorecam", ANOTHER)}.
  The limit of 0.5 is therefore hard to reach here; {similarity(small, "scorecam", LAST)}
  is above this level too.
* The maps still depend on what was learned. Compared with a network that learned shuffled labels,
  they keep {similarity(small, "scorecam", SHUFFLED)}; compared with one that learned the
  correct labels, {similarity(own, "scorecam", SHUFFLED)}. Grad-CAM's weights are signed;
  its maps keep {similarity(small, "gradcam", SHUFFLED)} and
  {similarity(own, "gradcam", SHUFFLED)}.
* Maps of two trainings on the correct labels are similar because both networks are right. The
  *other network* of the second table is there for comparison only; ignore its verdict.
"""


def centred_conclusion(results: Results) -> str:
    """What `centred` and the control `mean` show; empty if they were not measured."""
    small, wide = results["shuffled"], results["wide"]
    if CENTRED not in small["verdicts"]:
        return ""
    return f"""* **`centred`** is `official` without the mean weight ([centred.md](centred.md)).
  With the head re-initialised, its maps keep {_counted(small, CENTRED, FIRST)} and
  {_counted(wide, CENTRED, FIRST)}; those of `official` keep
  {similarity(small, "scorecam", FIRST)} and {similarity(wide, "scorecam", FIRST)}. With every stage
  re-initialised, it {_judged(small, CENTRED)} on the first network
  ({_counted(small, CENTRED, LAST)}), and {_judged(wide, CENTRED)} on the wide one
  ({_counted(wide, CENTRED, LAST)}). If all masks have the same score, the map is empty and
  its similarity undefined. Compared with a network that learned shuffled labels, it keeps
  {_counted(small, CENTRED, SHUFFLED)}.
* `mean`, the plain mean of the activations, is the control. It does not change with the head, and
  keeps {similarity(small, "mean", LAST)} and {similarity(wide, "mean", LAST)} with every stage
  re-initialised.
"""


def _judged(check: Results, method: str) -> str:
    """A verdict as a verb."""
    verdict = check["verdicts"][method]
    return "is undecided" if verdict == "undecided" else verdict


def _counted(check: Results, method: str, stage: str) -> str:
    """Similarity, with the number of photos for which it is undefined."""
    point = _point(check, method, stage)
    undefined = f", {point['undefined']} undefined" if point["undefined"] else ""
    return with_interval(point) + undefined


def gate_sections(results: Results) -> list[str]:
    """The sections from the results of gates.py."""
    parts: list[str] = []
    if training := results.get("training"):
        parts += ["## Focus during training\n", FOCUS, PICTURE, epochs_table(training["epochs"])]
        last = {f"epoch {EPOCHS} against {EPOCHS - 1}": training["last epochs"]}
        early = {f"shorter training: epoch {SHORT} against {SHORT - 1}": training["short"]}
        parts += ["## Has the training converged?\n", CONVERGED, gates_table(early | last)]
        gate = training["last epochs"]["command"].partition("--fail-under ")[2]
        faults = ("head shifted", "head re-initialised", "input turned")
        caught = {name: training[name] for name in faults}
        parts += ["## A release gate\n", f"`--fail-under {gate}`\n", GATE]
        parts += [gates_table(last | caught)]
    if lite0 := results.get("lite0"):
        parts += ["## EfficientNet-Lite0\n", f"`{lite0['bfloat16']['command']}`\n"]
        parts += [LITE, gates_table(lite0)]
    return parts


def sanity_sections(results: Results) -> list[str]:
    """The sections from the results of randomisation.py."""
    parts = ["## Do the maps depend on the training?\n", SANITY]
    for name, title in SANITY_TITLES.items():
        check = results[name]
        parts += [f"### {title}\n", SANITY_TEXTS[name].format(**check), sanity_table(check)]
    return [*parts, conclusions(results) + centred_conclusion(results)]


def page() -> str:
    """The Markdown of docs/training.md, from the results that exist."""
    gates, randomisation = (
        json.loads(file.read_text("utf-8")) if file.exists() else {}
        for file in (
            RESULTS / "training/gates.json",
            RESULTS / "training/randomisation.json",
        )
    )
    parts = [HEAD, *gate_sections(gates)]
    if randomisation:
        parts += sanity_sections(randomisation)
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    (DOCS / "training.md").write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
