"""The rules of an audit: what each looks for, how it decides, and where that comes from.

Thresholds were chosen on networks trained with other seeds than those that are reported;
`docs/audit.md` says how, and what the rules found and did not find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEVELS = ("problem", "warning", "note")
"""From the gravest to the least."""

ALPHA = 0.01
"""The chance that a rule's whole family of tests finds anything where there is nothing."""

LEAST = 5
"""Photos that a class needs on each side of a test."""

ALONE = 7
"""Photos from which a signed-rank test can be significant: 0.5 to the power of 7 is below ALPHA."""

MOST = 0.5
"""The part of the classes beyond which something found in all photos is said of the model."""

LARGE = 0.474
"""Cliff's delta from which a difference counts as large (Romano et al. 2006)."""


@dataclass(frozen=True)
class Rule:
    """One thing an audit looks for.

    Args:
        code: for programs.
        title: for people.
        looks_for: what it means when it is found.
        statistic: what is measured, tested, and corrected for the number of tests.
        source: where the idea and the statistic come from.
        thresholds: by name; a finding crosses all that its level asks for.
        levels: which level is given when.
    """

    code: str
    title: str
    looks_for: str
    statistic: str
    source: str
    thresholds: Mapping[str, float]
    levels: str

    @property
    def text(self) -> str:
        """The rule in a few lines, as `--explain` prints it."""
        limits = ", ".join(f"{name} {value:g}" for name, value in self.thresholds.items())
        return (
            f"{self.code}: {self.title}\n"
            f"  Looks for   {self.looks_for}\n"
            f"  Statistic   {self.statistic}\n"
            f"  Thresholds  {limits}\n"
            f"  Levels      {self.levels}\n"
            f"  Source      {self.source}\n"
        )


_SPRAY = "Lapuschkin et al. 2019 (Clever Hans predictors, SpRAy)"
_TESTS = "Mann and Whitney 1947; Holm 1979; Cliff 1993; Romano et al. 2006 (0.474 is large)"
_PLACE = (
    "the share of the map in the place, of right photos; where boxes are known on both sides only "
    "what lies outside the cells of the labelled object, of photos with boxes; one-sided "
    "Mann-Whitney test against the right photos of all other classes, and Wilcoxon's signed-rank "
    "test of all right photos against an even map; Holm's correction over every class and place"
)
_PLACE_LEVELS = (
    "problem where boxes say that it is not the object; {unknown} where they are not known"
)
_PLACE_LIMITS = {"p": ALPHA, "photos": LEAST, "difference": 0.1, "delta": LARGE, "times even": 2.0}

_ALL = (
    Rule(
        "other-object",
        "the map lies on another object",
        "right predictions of a class whose maps lie on an annotated object of another class: "
        "what always stands beside the object, rather than the object",
        "the share of the map on the other object's boxes outside the labelled object's, less the "
        "share of an even map; one-sided Wilcoxon signed-rank test, for every pair of a class and "
        "another object, and for all right photos with any other object; Holm's correction over "
        "all of them that have enough photos to be found at all (Tarone 1990)",
        f"Ribeiro et al. 2016 (husky or wolf: the snow); {_SPRAY}; Wilcoxon 1945; Holm 1979; "
        "Tarone 1990",
        {"p": ALPHA, "photos": ALONE, "share": 0.2, "times even": 1.5, "classes": MOST},
        "problem where the other object has more of the map, by area, than the labelled one, else "
        "note; of all photos together only where it is so in more than the part 'classes' of the "
        "classes",
    ),
    Rule(
        "corner",
        "a class is recognised by a corner",
        "a mark in a corner that goes with the label: a logo, a copyright line, a date",
        _PLACE,
        f"{_SPRAY}: a photographer's mark in the corner stood for 'horse'; DeGrave et al. 2021 "
        f"(marks in the corners of radiographs); {_TESTS}",
        _PLACE_LIMITS,
        _PLACE_LEVELS.format(unknown="warning"),
    ),
    Rule(
        "border",
        "a class is recognised by an edge or the border",
        "frames, captions and padding that go with the label",
        _PLACE,
        f"{_SPRAY}: padding at the border stood for 'aeroplane'; {_TESTS}",
        _PLACE_LIMITS,
        _PLACE_LEVELS.format(unknown="warning"),
    ),
    Rule(
        "same-region",
        "the maps of a class lie in one place",
        "the same ninth of the picture over a whole class",
        _PLACE,
        f"{_SPRAY}; {_TESTS}",
        _PLACE_LIMITS,
        _PLACE_LEVELS.format(unknown="note"),
    ),
    Rule(
        "wrong-reason",
        "right for the wrong reason",
        "right predictions whose map does not lie on the object",
        "(energy - chance) / (1 - chance) of right photos, where energy is the map's share on the "
        "object and chance the object's share of the picture: 1 on the object, 0 spread evenly, "
        "below 0 off it; a one-sided Wilcoxon signed-rank test that it is below 0, per class and "
        "of all right photos together, and per class a one-sided Mann-Whitney test against the "
        "other classes; Holm's correction over all of them that have enough photos to be found at "
        "all (Tarone 1990)",
        f"Ribeiro et al. 2016; {_SPRAY}; Wang et al. 2020, section 4.3 (energy); {_TESTS}; Tarone "
        "1990",
        {
            "p": ALPHA,
            "photos": LEAST,
            "photos alone": ALONE,
            "off": 0.0,
            "classes": MOST,
            "hardly": 0.1,
            "delta": LARGE,
            "difference": 0.2,
        },
        "problem where the mean is below 'off' and the first test finds it, of all photos together "
        "only where it is so in more than the part 'classes' of the classes; where only the "
        "class's difference to the others is large: warning with a mean below 'hardly', else note; "
        "of objects smaller than a cell the cells around have to be as low",
    ),
    Rule(
        "subgroup",
        "some photos of a class look alike for the wrong reason",
        "a part of a class whose maps lie in a place where those of other classes do not: a mark "
        "that only some photos have",
        "right photos with at least 3 times an even map's share, and at least 0.25, in the place; "
        "one-sided Fisher's exact test against the other classes; Holm's correction over every "
        "class and place; the exemplars are those of the cluster (k-means of the maps, k by the "
        "silhouette) that holds most of them",
        f"{_SPRAY}; Fisher 1935; Holm 1979; Rousseeuw 1987 (silhouette)",
        {"p": ALPHA, "photos": LEAST, "hits": 3, "rate": 0.1, "times others": 4.0},
        "warning where boxes say that it is not the object; note where they are not known",
    ),
    Rule(
        "confused",
        "classes are confused through the same distractor",
        "photos of one class that are taken for one other class, with the map of the prediction "
        "in the same place or on the same other object",
        "the share of the prediction's map in the place, where boxes are known outside the "
        "labelled object and any object of the predicted class; one-sided Mann-Whitney test "
        "against the predictions' maps of all other photos; on another object, Wilcoxon's "
        "signed-rank test against an even map; Holm's correction over every pair of classes and "
        "place",
        f"Wang et al. 2020, Figure 11 (distractors); {_TESTS}",
        {
            "p": ALPHA,
            "photos": 3,
            "difference": 0.1,
            "delta": LARGE,
            "times even": 2.0,
            "share": 0.2,
        },
        "warning where boxes say that it is not the object; note where they are not known",
    ),
    Rule(
        "fragile",
        "maps depend on how they are computed",
        "photos whose map is another one by another variant, or may be by a larger budget",
        "the lowest Spearman correlation, over the grid's cells, of the map with the same "
        "class's map by another variant (but consensus, which is zero in most places); and the "
        "estimated error of a reduced budget, of photos where they are known; described, not "
        "tested",
        "Adebayo et al. 2018 (a map has to depend on the model rather than the method); Spearman "
        "1904; the rule 'rough' of docs/health.md for the error",
        {
            "photos": LEAST,
            "correlation": 0.3,
            "error": 0.25,
            "rate for a note": 0.1,
            "rate for a warning": 0.5,
        },
        "by the share of photos: warning, or note",
    ),
)

RULES: Mapping[str, Rule] = {rule.code: rule for rule in _ALL}
"""Every rule by its code; of findings of one level, those of earlier rules come first."""


def percent(part: float) -> str:
    """A part of a whole, for a sentence."""
    return f"{part:.0%}".replace("%", " %")


def counted(count: int, what: str) -> str:
    """So many of something, for a sentence: "1 photo", "1,200 photos"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """The first of some names, for a sentence."""
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def probability(p: float) -> str:
    """A p value, for a sentence."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"
