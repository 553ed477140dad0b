"""The rule `wrong-reason`: right for the wrong reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from scorecam.audit.finding import Finding, RuleResult
from scorecam.audit.geometry import REGIONS, share
from scorecam.audit.item import Item
from scorecam.audit.photos import Photos
from scorecam.audit.photos_by_class import ClassPhotos
from scorecam.audit.place_shares import shares
from scorecam.audit.rule import Rule
from scorecam.audit.sentences import listed, p_value, percent
from scorecam.audit.significance import Pool, findable, floor, holm, positive
from scorecam.audit.thresholds import (
    ALPHA,
    EXAMPLES,
    LARGE_DELTA,
    MIN_PHOTOS,
    MIN_PHOTOS_ALONE,
    MOST_CLASSES,
    RANK_TESTS,
    SPRAY,
)

THRESHOLDS = MappingProxyType(
    {
        "p": ALPHA,
        "photos": MIN_PHOTOS,
        "photos alone": MIN_PHOTOS_ALONE,
        "off": 0.0,
        "classes": MOST_CLASSES,
        "hardly": 0.1,
        "delta": LARGE_DELTA,
        "difference": 0.2,
    }
)


@dataclass(frozen=True, eq=False)
class _Focus:
    """How much of the maps is on the object, for correctly classified photos with a known object.

    Args:
        group: the class; None for all photos.
        items: the photos.
        energy: the mean share of the maps on the object.
        chance: the mean share of a uniform map.
        scores: each photo's (energy − chance) / (1 − chance).
        fair_mean: their mean if, for objects smaller than a cell, the surrounding cells count too.
        classes: the share of classes with a mean score below 0.
    """

    group: ClassPhotos | None
    items: tuple[Item, ...]
    energy: float
    chance: float
    scores: tuple[float, ...]
    fair_mean: float
    classes: float

    @property
    def mean(self) -> float:
        """The mean score."""
        return float(np.mean(self.scores))

    def below(self, limit: float) -> bool:
        """Whether the mean is below a limit, and not only because the map is coarse."""
        return max(self.mean, self.fair_mean) < limit


@dataclass(frozen=True)
class _Test:
    """One test of a class's scores, or of all scores.

    Args:
        focus: what is tested.
        p: of the test.
        floor: the smallest p that the test can have.
        others: the mean score of the other classes; None if tested against a uniform map.
        delta: Cliff's delta against the other classes.
    """

    focus: _Focus
    p: float
    floor: float = 0.0
    others: float | None = None
    delta: float = 0.0

    @property
    def large(self) -> bool:
        """Whether it exceeds every threshold except p."""
        if self.others is None:
            return (
                self.focus.below(THRESHOLDS["off"]) and self.focus.classes > THRESHOLDS["classes"]
            )
        return (
            self.delta >= THRESHOLDS["delta"]
            and self.others - self.focus.mean >= THRESHOLDS["difference"]
        )


def find(photos: Photos) -> RuleResult:
    """Classes, or all photos, whose maps are off the object."""
    by_class = [focus for group in photos.classes.all if (focus := _focus(group)) is not None]
    whole = [_all_classes(by_class)] if len(by_class) > 1 else []
    tests = [_against_uniform(focus) for focus in (*whole, *by_class)]
    tests += _against_other_classes(by_class)
    testable = findable([test.floor for test in tests], THRESHOLDS["p"])
    tested = [test for test, kept in zip(tests, testable, strict=True) if kept]
    if not tested:
        return RuleResult(remarks=(_none_tested(),))
    best: dict[ClassPhotos | None, Finding] = {}
    for test, p in zip(tested, holm([test.p for test in tested]), strict=True):
        if p < THRESHOLDS["p"] and test.large and test.focus.group not in best:
            best[test.focus.group] = _finding(test, p)  # tests against a uniform map come first
    untested = [
        test.focus.group.title
        for test, kept in zip(tests, testable, strict=True)
        if test.focus.group is not None and test.others is None and not kept
    ]
    return RuleResult(tuple(best.values()), _too_few(untested))


def _none_tested() -> str:
    return (
        f"No class has {THRESHOLDS['photos alone']} annotated, correctly classified photos: too "
        "few to test with boxes or masks whether the model is right for the wrong reason."
    )


def _too_few(titles: Sequence[str]) -> tuple[str, ...]:
    if not titles:
        return ()
    return (
        (
            "Classes with too few annotated, correctly classified photos to test one by one "
            f"whether their maps are off the object: {listed(titles)}."
        ),
    )


def _focus(group: ClassPhotos) -> _Focus | None:
    """The focus of a class; None if no photo has a known object."""
    pairs = [(item, item.energy) for item in group.items if item.right]
    known = [(item, energy) for item, energy in pairs if energy is not None and energy[1] < 1]
    if not known:
        return None
    scores = [_score(*energy) for _, energy in known]
    fair = [_fair(item, score) for (item, _), score in zip(known, scores, strict=True)]
    return _Focus(
        group=group,
        items=tuple(item for item, _ in known),
        energy=float(np.mean([energy for _, (energy, _) in known])),
        chance=float(np.mean([chance for _, (_, chance) in known])),
        scores=tuple(scores),
        fair_mean=float(np.mean(fair)),
        classes=float(np.mean(scores) < 0),
    )


def _score(energy: float, chance: float) -> float:
    return (energy - chance) / (1 - chance)


def _fair(item: Item, score: float) -> float:
    """The score; for an object smaller than a cell, that of all cells that its map can cover."""
    if item.object is None or item.object_cells is None or item.object.sum() >= 1:
        return score
    chance = float(item.object_cells.mean())
    return _score(share(item.map, item.object_cells), chance) if chance < 1 else score


def _all_classes(by_class: Sequence[_Focus]) -> _Focus:
    counts = [len(focus.items) for focus in by_class]

    def mean(values: Sequence[float]) -> float:
        return float(np.average(values, weights=counts))

    return _Focus(
        group=None,
        items=tuple(item for focus in by_class for item in focus.items),
        energy=mean([focus.energy for focus in by_class]),
        chance=mean([focus.chance for focus in by_class]),
        scores=tuple(score for focus in by_class for score in focus.scores),
        fair_mean=mean([focus.fair_mean for focus in by_class]),
        classes=float(np.mean([focus.classes for focus in by_class])),
    )


def _against_uniform(focus: _Focus) -> _Test:
    """Whether the maps have less on the object than a uniform map."""
    less = [-score for score in focus.scores]
    return _Test(focus, positive(less), floor(less))


def _against_other_classes(by_class: Sequence[_Focus]) -> list[_Test]:
    """Whether a class's maps have less on the object than other classes' maps."""
    scores = np.array([score for focus in by_class for score in focus.scores])
    owner = np.repeat(np.arange(len(by_class)), [len(focus.scores) for focus in by_class])
    less, tests = Pool(-scores[:, None]), list[_Test]()
    for number, focus in enumerate(by_class):
        mine = owner == number
        if min(mine.sum(), (~mine).sum()) < MIN_PHOTOS:
            continue
        [delta], [p] = less.compare(mine, THRESHOLDS["delta"])
        tests.append(_Test(focus, p, others=float(scores[~mine].mean()), delta=delta))
    return tests


def _finding(test: _Test, p: float) -> Finding:
    focus = test.focus
    worst = np.argsort(focus.scores, kind="stable")[:EXAMPLES]
    effect = (
        f"{focus.energy - focus.chance:+.2f} of the map on the object compared with a uniform map"
    )
    if test.others is not None:
        effect += f", Cliff's delta {-test.delta:.2f} against other classes"
    return Finding(
        rule="wrong-reason",
        level=_level(test),
        sentence=_sentence(test),
        evidence=_evidence(test, p),
        effect=effect,
        size=focus.chance - focus.energy if test.others is None else test.others - focus.mean,
        p=p,
        label=None if focus.group is None else focus.group.title,
        region="off the object",
        photos=tuple(focus.items[index].id for index in worst),
    )


def _level(test: _Test) -> str:
    if test.others is None:
        return "problem"
    return "warning" if test.focus.below(THRESHOLDS["hardly"]) else "note"


def _sentence(test: _Test) -> str:
    focus, count = test.focus, len(test.focus.items)
    if focus.group is None:
        who, photos = "The model", f"{count} correctly classified photos of all classes"
    else:
        who, photos = repr(focus.group.title), focus.group.some(count)
    if test.others is None:
        return (
            f"{who} is right for the wrong reason: {percent(1 - focus.energy)} of the map is off "
            f"the object, more than the {percent(1 - focus.chance)} of a uniform map ({photos})."
        )
    return (
        f"The maps of {who} focus less on the object than those of other classes: "
        f"{percent(focus.energy)} of the map is on it, {percent(focus.chance)} for a uniform map "
        f"({photos})."
    )


def _evidence(test: _Test, p: float) -> tuple[str, ...]:
    name = "Wilcoxon signed-rank" if test.others is None else "Mann-Whitney"
    compared = "" if test.others is None else f", {test.others:.2f} in other classes"
    sentences = [
        f"Mean score (1 on the object, 0 for a uniform map): {test.focus.mean:.2f}{compared}.",
        f"{name} test, corrected for all classes: {p_value(p)}.",
    ]
    if test.focus.group is None:
        sentences.append(f"This holds for {percent(test.focus.classes)} of the classes.")
    return (*sentences, *_densest_place(test.focus.items))


def _densest_place(items: Sequence[Item]) -> tuple[str, ...]:
    """The named region outside the object that has most of the maps for its size."""
    known = [item for item in items if item.outside is not None]
    if not known:
        return ()
    tables = shares([item.map for item in known], [item.outside for item in known])
    own, uniform = (table.mean(axis=0) for table in tables)
    gain = (own - uniform) / np.sqrt(np.maximum(uniform * (1 - uniform), 1e-6))
    best = int(gain.argmax())
    if own[best] <= uniform[best]:
        return ()
    return (
        (
            f"Off the object, the maps are densest in {REGIONS[best].name}: {percent(own[best])} "
            f"of the map, {percent(uniform[best])} of a uniform map."
        ),
    )


RULE = Rule(
    code="wrong-reason",
    title="right for the wrong reason",
    looks_for="correct predictions with maps off the object",
    statistic=(
        "score = (energy - chance) / (1 - chance) of correctly classified photos, with energy the "
        "map's share on the object and chance the object's share of the image: 1 on the object, 0 "
        "for a uniform map, below 0 off the object; one-sided Wilcoxon signed-rank test that the "
        "score is below 0, for each class and for all photos, and one-sided Mann-Whitney test of "
        "each class against the others; Holm's correction over all tests with enough photos to "
        "become significant (Tarone 1990)"
    ),
    source=(
        f"Ribeiro et al. 2016; {SPRAY}; Wang et al. 2020, section 4.3 (energy); {RANK_TESTS}; "
        "Tarone 1990"
    ),
    thresholds=THRESHOLDS,
    levels=(
        "problem if the mean is below 'off' by the first test, for all photos together only if it "
        "holds in more than the share 'classes' of the classes; if only the difference to the "
        "other classes is large, warning with a mean below 'hardly', otherwise note; for objects "
        "smaller than a cell the surrounding cells count too"
    ),
    find=find,
)
