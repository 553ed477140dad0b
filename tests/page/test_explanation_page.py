"""The page of one explanation shows the bank's maps and how they were computed."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import scorecam
import toy_models
from command_line import NAMES, PREPROCESS, furnish
from scorecam import Explanation, MissingExtra, OutputError, Preprocess, ScoreBank
from scorecam.cam import find_variant
from scorecam.testing import Regions, regions

needs_jinja = pytest.mark.needs("audit")

VIEWS = ["official", "algorithm1", "increase", "centred", "consensus"]


def content(text: str) -> dict[str, Any]:
    """The data of the page's script."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def cells(text: str) -> np.ndarray:
    shape, _, rest = text.partition(",")
    rows, columns = map(int, shape.split("x"))
    return np.frombuffer(base64.b64decode(rest), np.uint8).reshape(rows, columns)


# ── known answers ────────────────────────────────────────────────────────────────────────────

WEIGHTS = torch.tensor([[1.0, 2.0, 0.5], [0.2, 0.1, 3.0]])


def painted(values: tuple[float, float, float]) -> np.ndarray:
    """One value on each of the three regions of 8, 2 and 4 pixels, 0 on the last two pixels."""
    return np.repeat([*values, 0], [8, 2, 4, 2]).reshape(4, 4)


@pytest.fixture
def known() -> Explanation:
    """Its increase is 8, 4 and 2 on the three regions for class 0, and 1.6, 0.2 and 12 for 1."""
    image = regions((8, 2, 4), 4, 4)
    return scorecam.explain(Regions(WEIGHTS), image, 0, layer="maps", variant="increase")


@needs_jinja
def test_the_maps_equal_those_computed_by_hand(known: Explanation) -> None:
    found = content(known.to_html())
    assert found["views"] == ["increase", "official", "algorithm1", "centred", "consensus"]
    (picture,) = found["pictures"]
    first, second = picture["classes"]
    np.testing.assert_array_equal(cells(first["maps"][0]), painted((255, 128, 64)))
    np.testing.assert_array_equal(cells(second["maps"][0]), painted((34, 4, 255)))
    # Unmasked, the scores are 14 and 13.8: the target is also the prediction.
    assert (first["name"], first["roles"]) == ("class 0", ["predicted", "target"])
    assert (second["name"], second["roles"]) == ("class 1", [])


@needs_jinja
def test_the_contrast_is_against_the_strongest_other_class(known: Explanation) -> None:
    (picture,) = content(known.to_html())["pictures"]
    assert picture["contrast"]["name"] == "class 0 rather than class 1"
    # 8 − 1.6, 4 − 0.2, and 2 − 12, which is negative.
    expected = painted((255, round(255 * 3.8 / 6.4), 0))
    np.testing.assert_array_equal(cells(picture["contrast"]["map"]), expected)


@needs_jinja
def test_channels_are_sorted_by_share_of_the_weights(known: Explanation) -> None:
    (picture,) = content(known.to_html())["pictures"]
    channels = picture["channels"]
    assert [each["name"] for each in channels] == ["channel 0", "channel 1", "channel 2"]
    np.testing.assert_allclose([each["share"] for each in channels], [8 / 14, 4 / 14, 2 / 14], 1e-5)
    np.testing.assert_array_equal(cells(channels[1]["map"]), painted((0, 255, 0)))


@needs_jinja
def test_a_negative_weight_is_a_negative_share() -> None:
    net = Regions(torch.tensor([[1.0, -2.0], [0.0, 0.0]]))
    made = scorecam.explain(net, regions((4, 4), 4, 4), 0, layer="maps", variant="increase")
    (picture,) = content(made.to_html())["pictures"]
    shares = {each["name"]: each["share"] for each in picture["channels"]}
    assert shares == pytest.approx({"channel 1": -2 / 3, "channel 0": 1 / 3}, rel=1e-5)


# ── photos ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def explanation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Explanation:
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    net = toy_models.tiny()
    model = scorecam.open_model(net, preprocess=Preprocess.from_dict(PREPROCESS), labels=NAMES)
    return scorecam.explain(model, "cat.png", "lynx")


def on_grid(bank: ScoreBank, heatmap: Tensor) -> np.ndarray:
    assert heatmap.shape == bank.activations.shape[1:]
    top = heatmap.max().clamp(min=1e-30)
    return (255 * heatmap / top).round().numpy()


@needs_jinja
def test_every_class_and_variant_is_the_banks_map_on_the_layers_grid(
    explanation: Explanation,
) -> None:
    bank = explanation.bank
    found = content(explanation.to_html())
    assert found["views"] == VIEWS
    (picture,) = found["pictures"]
    classes = picture["classes"]
    assert len(classes) == 5
    assert classes[0]["name"] == "lynx"
    order = [bank.target(shown["name"]).score for shown in classes[1:]]
    assert order == sorted(order, reverse=True)
    for shown in classes:
        target = bank.target(shown["name"])
        assert shown["probability"] == pytest.approx(target.probability, rel=1e-5)
        for view, text in zip(VIEWS, shown["maps"], strict=True):
            expected = bank.heatmap(target.index, view, size=bank.activations.shape[1:])
            np.testing.assert_array_equal(cells(text), on_grid(bank, expected))
    assert sum("predicted" in shown["roles"] for shown in classes) == 1


@needs_jinja
def test_it_shows_what_the_model_saw(explanation: Explanation) -> None:
    (picture,) = content(explanation.to_html())["pictures"]
    with Image.open(io.BytesIO(base64.b64decode(picture["jpeg"]))) as seen:
        assert seen.size[::-1] == explanation.bank.size


@needs_jinja
def test_it_states_the_computation_and_the_health_notes(explanation: Explanation) -> None:
    text = explanation.to_html()
    (picture,) = content(text)["pictures"]
    made = explanation.provenance
    assert picture["facts"]["forward passes"] == made.forward_passes
    assert picture["facts"]["error of the map, estimated"] == 0
    assert picture["facts"]["score"] == pytest.approx(explanation.target.score, rel=1e-5)
    assert picture["words"] == [note.sentence for note in explanation.health]
    assert picture["tags"] == [note.code for note in explanation.health]
    for known in ("<h1>Why lynx?</h1>", explanation.layer, "p_t(X·H_k)", "fill 0.0, scaled after"):
        assert known in text


@needs_jinja
def test_health_notes_are_shown() -> None:
    flat = scorecam.explain(
        Regions(torch.tensor([[-1.0, -1.0], [1.0, 1.0]])),
        regions((4, 4), 4, 4),
        0,
        layer="maps",
        variant="increase",
    )
    (picture,) = content(flat.to_html())["pictures"]
    assert "flat" in picture["tags"]
    assert picture["words"]
    assert not cells(picture["classes"][0]["maps"][0]).any()


@needs_jinja
def test_a_saved_bank_of_few_classes_still_has_a_page(
    explanation: Explanation, tmp_path: Path
) -> None:
    explanation.bank.save(tmp_path / "bank.safetensors", classes=["lynx", 0])
    bank = ScoreBank.load(tmp_path / "bank.safetensors")
    again = Explanation(bank, bank.target("lynx"), find_variant("official"))
    (picture,) = content(again.to_html())["pictures"]
    names = [shown["name"] for shown in picture["classes"]]
    assert names == ["lynx", bank.target(0).label]
    assert picture["contrast"]["name"] == f"lynx rather than {bank.target(0).label}"
    assert picture["jpeg"] is not None


@needs_jinja
def test_a_single_column_has_no_contrast() -> None:
    model = scorecam.open_model(Regions(torch.tensor([[1.0, 2.0]])), head="value")
    made = scorecam.explain(model, regions((4, 4), 4, 4), layer="maps")
    (picture,) = content(made.to_html())["pictures"]
    assert picture["contrast"] is None
    assert len(picture["classes"]) == 1
    assert "probability" not in picture["facts"]
    assert picture["facts"]["score"] == made.target.score


# ── files and errors ─────────────────────────────────────────────────────────────────────────


@needs_jinja
def test_the_file_is_what_is_returned(explanation: Explanation, tmp_path: Path) -> None:
    text = explanation.to_html(tmp_path / "new" / "lynx.html")
    assert (tmp_path / "new" / "lynx.html").read_bytes().decode() == text
    assert text == explanation.to_html(str(tmp_path / "again.html"))


@needs_jinja
def test_an_unwritable_path_is_an_error(explanation: Explanation, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Could not write"):
        explanation.to_html(tmp_path / "file" / "lynx.html")


@needs_jinja
@pytest.mark.parametrize("axes", [1, 3])
def test_signals_and_volumes_have_a_page_of_their_overlays(axes: int) -> None:
    net = Regions(torch.tensor([[1.0, 2.0], [2.0, 1.0]]), axes=axes)
    made = scorecam.explain(net, regions((4, 2), *[4] * axes), 0, layer="maps")
    text = made.to_html()
    files = [base64.b64decode(found) for found in re.findall(r'png;base64,([^"]+)"', text)]
    pictures = [Image.open(io.BytesIO(file)) for file in files]

    assert content(text)["pictures"] == []
    assert "There are no pictures" not in text
    assert [each.tobytes() for each in pictures] == [
        made.overlay().tobytes(),
        made.of(1).overlay().tobytes(),
    ]


def test_without_jinja2_the_error_says_how_to_install_it(
    known: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match=r"pip install 'scorecam\[audit\]'"):
        known.to_html()
