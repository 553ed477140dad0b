"""The `repr` of every object is one short line without long lists of numbers."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import scorecam
from scorecam.audit import Audit, Finding
from scorecam.cam import Answers
from scorecam.datasets.sample import Dataset, Sample, Thing
from scorecam.errors import ScorecamError
from scorecam.methods.method import Case
from scorecam.methods.names import METHODS, parse_methods
from scorecam.metrics.names import parse_metrics
from scorecam.metrics.statistics import Interval
from scorecam.runs.compare.comparison import Comparison
from scorecam.runs.compare.versus import PhotoChange, Versus
from scorecam.runs.map_branch.export import MapExport
from scorecam.runs.map_branch.fidelity import Fidelity
from scorecam.runs.sanity.results import Sanity
from scorecam.runs.summary import Summary
from scorecam.runs.tables import Row
from scorecam.runs.verify.faults import Fault
from scorecam.testing import Regions, regions
from scorecam.trust.verdict import Evidence

NAMES = ("cat", "dog\x1b[2J", "bird")
HOSTILE = "x\n\x1b[31m\u202e" * 1000


def model() -> scorecam.Model:
    weights = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.0]])
    return scorecam.open_model(Regions(weights), labels=NAMES)


def bank(budget: int | str = "exact") -> scorecam.ScoreBank:
    image = regions((3, 2, 4), 6, 6)
    return scorecam.ScoreCAM(model(), "maps", budget=budget).bank(image)


def explanation() -> scorecam.Explanation:
    return scorecam.explain(model(), regions((3, 2, 4), 6, 6), layer="maps")


def evidence(code: str = "blind") -> Evidence:
    return Evidence(code, 0.9, 0.5, 0.9, "failed", 1.0, "It " + "really " * 200 + "does.")


def provenance() -> scorecam.Provenance:
    return scorecam.Provenance("lite0", "cpu", "float32", 447, 32, 2.7, remarks=("a" * 500,) * 50)


FIDELITY = Fidelity(100, 0.9761, 0.93, 0.777, "official")
INTERVAL = Interval(0.5, 0.4, 0.6, 100)
RUN = Path("out/run")
SAMPLES = (Sample("a.jpg", Path("photos/a.jpg"), "n01440764", (Thing("n01440764", (0, 0, 9, 9)),)),)

EXAMPLES: dict[str, Callable[[], Any]] = {
    "Explanation": explanation,
    "Layer": lambda: scorecam.Layer(
        "head", (7, 7), 1280, "channels first", default=True, why="The last."
    ),
    "MapExport": lambda: MapExport(
        Path("net.map.onnx"), "class", "α_k", "relu", (7, 7), FIDELITY, 0, {"a.jpg": "W. " * 99}
    ),
    "Masking": lambda: scorecam.Masking(fill=0.5),
    "Model": model,
    "Note": lambda: scorecam.Note("flat", 0.0, 0.0, "The map is constant. " * 50),
    "Preprocess": lambda: scorecam.Preprocess.lite(224),
    "Progress": lambda: scorecam.Progress(3, 64, torch.rand(224, 224)),
    "Provenance": provenance,
    "ScoreBank": bank,
    "ScoreCAM": lambda: scorecam.ScoreCAM(model(), budget="fast", masking=scorecam.Masking(1.0)),
    "Target": lambda: scorecam.Target(281, "tabby", 9.25, 0.384),
    "Trust": lambda: scorecam.Trust("don't show", 1.0, (evidence(),) * 40, 240, 3.21),
    "Variant": lambda: scorecam.VARIANTS["consensus"],
    "Verification": lambda: scorecam.Verification(
        RUN, 80, (Fault("a.json", "edited", "It was edited."),) * 1000, ()
    ),
}
"""Every class in `scorecam.__all__` that is not an error."""


def versus() -> Versus:
    photos = (PhotoChange("0123", "a.jpg", 0.9, flipped=False, focus=(0.5, None)),) * 5000
    return Versus("new", INTERVAL, 0, INTERVAL, INTERVAL, photos)


OTHER_EXAMPLES: dict[str, Callable[[], Any]] = {
    "Answers": lambda: Answers(torch.rand(1280, 1000), torch.rand(1000), "logits"),
    "Case": lambda: Case(
        model(),
        torch.rand(3, 224, 224),
        target=1,
        layer="maps",
        make_bank=bank,
        make_scorer=lambda: pytest.fail("called"),
    ),
    "Audit": lambda: Audit(_Reading(), (), (), {}, None),  # pyright: ignore[reportArgumentType]
    "Comparison": lambda: Comparison(
        RUN, ("old", "new"), (INTERVAL,) * 2, (INTERVAL,) * 2, (versus(),), ("Gate.",), ()
    ),
    "Dataset": lambda: Dataset(RUN, "folder", SAMPLES * 5000, ("a",) * 1000),
    "Evidence": evidence,
    "Fault": lambda: Fault("items/a.json", "edited", "It was edited."),
    "Finding": lambda: Finding("fragile", "note", "S. " * 400, ("E. " * 99,) * 99, "large", 0.5),
    "Row": lambda: Row("scorecam", "deletion", "all", INTERVAL),
    "Sample": lambda: replace(SAMPLES[0], mask=lambda: np.zeros((9, 9), bool)),
    "Sanity": lambda: Sanity(
        RUN, ("fc", "layer4"), (), {"scorecam": "passes", "edges": "fails"}, {}, "", {}
    ),
    "Summary": lambda: Summary(
        RUN, 40, 38, {"PhotoError": 2}, (), (Row("scorecam", "deletion", "all", INTERVAL),), ""
    ),
    "Versus": versus,
    "methods": lambda: parse_methods(",".join(METHODS.keys() - {"maps"})),
    "metrics": lambda: parse_metrics("all"),
}
"""Results of public functions, and the arguments of users' methods, metrics and variants."""


class _Reading:
    """A run, as an audit reads it."""

    folder, method, items = RUN, "scorecam", ()


EXACT = {
    "Audit": "Audit(out/run, method scorecam, 0 photos, 0 findings)",
    "Comparison": "Comparison(out/run, old against new, failed gates: 1)",
    "Dataset": "Dataset(out/run, folder, 5000 photos, 1000 classes)",
    "Explanation": "Explanation(cat 100.0 %, official, 3 of 3 masks, layer maps 6×6)",
    "Fault": "Fault(file='items/a.json', state='edited', sentence='It was edited.')",
    "Layer": "Layer(name='head', grid=(7, 7), channels=1280, layout='channels first', "
    "default=True, why='The last.')",
    "MapExport": "MapExport(net.map.onnx, class, layer relu, Pearson 0.976)",
    "Masking": "Masking(fill=0.5)",
    "Model": "TorchModel(Regions, 3 columns, head auto)",
    "Progress": "Progress(done=3, total=64, heatmap=<Tensor of shape (224, 224)>)",
    "Sample": "Sample(a.jpg, label 'n01440764', objects: 1, with a mask)",
    "Sanity": "Sanity(out/run, 2 stages, scorecam passes, edges fails)",
    "ScoreBank": "ScoreBank(cat 100.0 %, 3 of 3 masks, layer maps 6×6, official)",
    "ScoreCAM": "ScoreCAM(Regions, default layer, auto, budget fast, runtime auto, "
    "precision float32, Masking(fill=1.0))",
    "Summary": "Summary(out/run, 38 of 40 photos done, 2 failed, methods scorecam)",
    "Target": "Target(index=281, name='tabby', score=9.25, probability=0.384)",
    "Variant": "Variant(name='consensus', formula='softmax over k of 2 z_t(X·H_k)', field=True)",
    "Verification": "Verification(out/run, not sound, files checked: 80, faults: 1000)",
}


def check_line(line: str) -> None:
    assert 0 < len(line) <= 400
    assert line.isprintable()  # so it is one line, without control characters
    assert "tensor(" not in line
    assert "array(" not in line


def public_classes() -> dict[str, type]:
    objects = {name: getattr(scorecam, name) for name in scorecam.__all__}
    return {name: value for name, value in objects.items() if inspect.isclass(value)}


def test_every_public_class_has_an_example() -> None:
    errors = {name for name, kind in public_classes().items() if issubclass(kind, ScorecamError)}
    assert EXAMPLES.keys() == public_classes().keys() - errors


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_is_an_instance_of_its_class(name: str) -> None:
    assert isinstance(EXAMPLES[name](), public_classes()[name])


@pytest.mark.parametrize("name", EXAMPLES | OTHER_EXAMPLES)
def test_every_object_prints_as_one_short_line(name: str) -> None:
    example = (EXAMPLES | OTHER_EXAMPLES)[name]()
    for item in example if isinstance(example, list) else [example]:
        check_line(repr(item))
        check_line(str(item))


@pytest.mark.parametrize("name", EXACT)
def test_objects_print_their_main_facts(name: str) -> None:
    assert repr((EXAMPLES | OTHER_EXAMPLES)[name]()) == EXACT[name]


@pytest.mark.parametrize("name", sorted(public_classes()))
def test_an_unfinished_object_prints(name: str) -> None:
    kind = public_classes()[name]
    if issubclass(kind, ScorecamError):
        unfinished = kind("No.")
        vars(unfinished).clear()
    else:
        unfinished = object.__new__(type(EXAMPLES[name]()))
    check_line(repr(unfinished))


@pytest.mark.parametrize(
    "kind", [kind for kind in public_classes().values() if issubclass(kind, ScorecamError)]
)
def test_an_error_prints_as_the_call_that_raises_it(kind: type[ScorecamError]) -> None:
    assert repr(kind("No.", do="Go.")) == f"{kind.__name__}('No.', do='Go.')"
    check_line(repr(kind(HOSTILE, likely=HOSTILE, do=HOSTILE)))


def test_a_bank_prints_the_number_of_scored_masks() -> None:
    assert "2 of 3 masks" in repr(bank(budget=2))


def test_a_bank_with_head_value_prints_the_score() -> None:
    value = replace(bank(), head="value")
    assert repr(value) == "ScoreBank(cat 11, 3 of 3 masks, layer maps 6×6, official)"


def test_a_bank_with_nan_scores_prints() -> None:
    scores = torch.full((3,), math.nan)
    assert "nan %" in repr(replace(bank(), image_scores=scores))


def test_an_explanation_prints_the_photos_size() -> None:
    photo = Image.new("RGB", (451, 300))
    assert repr(replace(explanation(), photo=photo)).endswith("6×6, photo 451×300)")


def test_printing_an_explanation_computes_no_map() -> None:
    fresh = replace(explanation())
    repr(fresh)
    assert "heatmap" not in vars(fresh)
    assert "health" not in vars(fresh)


def test_hostile_names_print_short_and_escaped() -> None:
    for record in (
        scorecam.Target(0, HOSTILE, 1.0, None),
        replace(bank(), names=(HOSTILE,) * 3, layer=HOSTILE),
        replace(SAMPLES[0], name=HOSTILE, label=HOSTILE),
        Dataset(Path(HOSTILE), "folder", SAMPLES, ()),
        replace(provenance(), model=HOSTILE),
        Comparison(Path(HOSTILE), (HOSTILE,) * 99, (), (), (), (), ()),
    ):
        check_line(repr(record))


@pytest.mark.parametrize("name", ["Layer", "Masking", "Note", "Preprocess", "Provenance", "Target"])
def test_records_can_be_compared_hashed_copied_and_pickled(name: str) -> None:
    record = EXAMPLES[name]()
    unpickled = pickle.loads(pickle.dumps(record))
    assert unpickled == record == copy.deepcopy(record)
    assert hash(unpickled) == hash(record)


@pytest.mark.parametrize(
    "record", [scorecam.Preprocess.imagenet(), scorecam.Masking(0.5), EXAMPLES["Layer"]()]
)
def test_a_settings_record_prints_as_valid_python(record: object) -> None:
    assert eval(repr(record), vars(scorecam) | public_classes()) == record
