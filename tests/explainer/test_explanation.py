"""Explaining an image, and using the explanation."""

from __future__ import annotations

import dataclasses
import pickle
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import scorecam
import toy_models
from command_line import PREPROCESS, SIDE, picture
from scorecam import (
    Explanation,
    LayerError,
    Model,
    ModelError,
    OutputError,
    PhotoError,
    Preprocess,
    ScoreBank,
    ScorecamError,
    SettingError,
    TargetError,
)
from scorecam.testing import Regions

pytestmark = pytest.mark.usefixtures("photo_folder")


def same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


# ── targets ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "target", ["lynx", " LYNX ", 3, "3", np.int64(3), torch.tensor(3)], ids=repr
)
def test_a_target_is_a_name_or_any_kind_of_index(
    explanation: Explanation, model: Model, target: Any
) -> None:
    result = scorecam.explain(model, "cat.png", target)

    assert result.target == explanation.target
    same(result.heatmap, explanation.heatmap)


def test_a_target_may_be_a_function_of_the_output(model: Model) -> None:
    def lynx_rather_than_tabby(output: Tensor) -> Tensor:
        return output[:, 3] - output[:, 0]

    result = scorecam.explain(model, "cat.png", lynx_rather_than_tabby)
    bank = scorecam.explain(model, "cat.png").bank

    assert result.target.name == "lynx_rather_than_tabby"
    assert result.target.probability is None
    assert result.target.score == pytest.approx(float(bank.image_scores[3] - bank.image_scores[0]))


@pytest.mark.parametrize(
    ("target", "phrase"),
    [
        ("lnyx", "Did you mean 'lynx'"),
        (5, "start at 1"),
        (-1, "0 to 4"),
        (1.0, "1.0"),
        (True, "True"),
        ([3], "3"),
        (lambda output: output.sum(), "batch"),
        (lambda _output: 3.0, "tensor"),
        (lambda _output: {}["lynx"], "KeyError: 'lynx'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_invalid_target_is_refused(model: Model, target: Any, phrase: str) -> None:
    with pytest.raises(TargetError, match=phrase):
        scorecam.explain(model, "cat.png", target)


def test_a_list_of_targets_has_one_per_image(model: Model) -> None:
    with pytest.raises(TargetError, match="2 targets were given for 3 images"):
        scorecam.ScoreCAM(model)(torch.randn(3, 3, 8, 8), [0, 1])


# ── the explanation ──────────────────────────────────────────────────────────────────────────


def test_an_explanation_has_its_target_layer_and_bank(explanation: Explanation) -> None:
    assert explanation.target.name == "lynx"
    assert explanation.layer == "body"
    assert explanation.variant.name == "official"
    assert explanation.formula.startswith("L = ReLU(")
    assert explanation.error == 0.0
    assert explanation.provenance.model == "Tiny"
    assert explanation.provenance.torch == str(torch.__version__)
    assert explanation.heatmap.shape == explanation.scaled.shape == (SIDE, SIDE)
    assert (float(explanation.scaled.min()), float(explanation.scaled.max())) == (0, 1)


def test_another_class_or_variant_is_read_from_the_bank_alone(
    model: Model, net: nn.Module, explanation: Explanation
) -> None:
    expected = scorecam.explain(model, "cat.png", "tabby", variant="increase")
    net.forward = None  # type: ignore[method-assign, assign]

    result = explanation.of("tabby", variant="increase")
    assert (result.target, result.variant.name) == (expected.target, "increase")
    same(result.heatmap, expected.heatmap)
    assert explanation.of(variant="literal").target == explanation.target
    assert explanation.of("tabby").variant == explanation.variant
    assert explanation.of(0).target == explanation.of("tabby").target


def test_another_class_is_drawn_on_the_same_photo(explanation: Explanation) -> None:
    result = explanation.of("tabby")

    assert result.photo is explanation.photo
    assert result.overlay().size[0] == explanation.overlay().size[0]


def test_an_unknown_class_or_variant_is_refused(explanation: Explanation) -> None:
    with pytest.raises(TargetError, match="Did you mean 'tabby'"):
        explanation.of("taby")
    with pytest.raises(SettingError, match="Did you mean 'increase'"):
        explanation.of(variant="increse")


def test_top_orders_by_score_and_gives_at_most_all(explanation: Explanation) -> None:
    scores = [result.target.score for result in explanation.top(3)]

    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == float(explanation.bank.image_scores.max())
    assert len(explanation.top(50)) == 5
    with pytest.raises(SettingError, match="at least one"):
        explanation.top(0)


@pytest.mark.parametrize("size", [(60, 20), (20, 60)])
def test_on_photo_covers_the_crop_and_is_zero_outside(size: tuple[int, int]) -> None:
    model = scorecam.open_model(
        toy_models.tiny(),
        preprocess=Preprocess.from_dict(PREPROCESS | {"fit": "crop_resize", "fraction": 1.0}),
    )
    result = scorecam.explain(model, picture(4, *size), 0)
    laid = result.on_photo()
    left, top = (20, 0) if size[0] > size[1] else (0, 20)
    seen = laid[top : top + 20, left : left + 20]

    assert laid.shape == size[::-1]
    assert torch.count_nonzero(laid) == torch.count_nonzero(seen)
    same(
        seen,
        torch.nn.functional.interpolate(result.heatmap[None, None], (20, 20), mode="bilinear")[
            0, 0
        ],
    )


def test_on_photo_needs_a_photo(model: Model) -> None:
    with pytest.raises(PhotoError, match="tensor was explained"):
        scorecam.explain(model, torch.randn(3, 8, 8)).on_photo()


def test_an_overlay_has_the_shape_of_the_photo_plus_legend(model: Model) -> None:
    for size in ((700, 500), (500, 700), (480, 480)):
        drawn = scorecam.explain(model, picture(4, *size)).overlay()

        assert drawn.mode == "RGB"
        assert drawn.width >= size[0]
        assert drawn.height > size[1]


def test_tensors_and_saved_banks_have_overlays_too(model: Model, explanation: Explanation) -> None:
    explanation.bank.save("cat.safetensors")
    bank = ScoreBank.load("cat.safetensors")
    restored = Explanation(bank, bank.target("lynx"), explanation.variant)

    assert scorecam.explain(model, torch.randn(3, 8, 8)).overlay().width >= 8
    assert restored.overlay().size == explanation.overlay().size
    # In a file maps and logits are float16: 2^-11 of a map, of log p_t and of the entropy is lost.
    least = explanation.bank.scores.log_softmax(dim=1)[:, 3].min()
    rtol = 1.01 * 2**-11 * float(1 - least + np.log(5))
    torch.testing.assert_close(restored.heatmap, explanation.heatmap, rtol=rtol, atol=0)
    assert [note.code for note in restored.health] == [note.code for note in explanation.health]


@pytest.fixture
def signals() -> nn.Module:
    """A classifier of one-dimensional signals."""
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten()
    )


def test_a_signal_has_a_default_layer(signals: nn.Module) -> None:
    result = scorecam.explain(signals, torch.randn(2, 32))

    assert result.layer == "1"
    assert result.heatmap.shape == (32,)


@pytest.mark.parametrize("image", [(2, 32), (1, 4, 5, 6), (3, 4, 5, 6), (5, 6, 7)], ids=str)
def test_every_kind_of_tensor_has_an_overlay_and_a_comparison(image: tuple[int, ...]) -> None:
    """A signal, a volume, a video, and five bands; also read from the bank alone, on grey."""
    net = Regions(torch.rand(3, image[0]), axes=len(image) - 1)
    result = scorecam.explain(net, torch.rand(image), layer="maps")
    grey = dataclasses.replace(result, image=None)

    for made in (result, grey):
        overlay = made.overlay()
        compared = made.side_by_side({"ours": made.heatmap, "half": made.heatmap / 2}, columns=3)
        assert (overlay.mode, compared.mode) == ("RGB", "RGB")
        assert min(*overlay.size, *compared.size) >= 200
    assert result.overlay().tobytes() != grey.overlay().tobytes()


# ── settings ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("settings", "error", "phrase"),
    [
        ({"layer": "boddy"}, LayerError, "Did you mean 'body"),
        ({"layer": "classifier"}, LayerError, "no grid"),
        ({"layer": nn.ReLU()}, LayerError, "not part of the model"),
        ({"layer": 3}, LayerError, "int"),
        ({"variant": "oficial"}, SettingError, "Did you mean 'official'"),
        ({"batch_size": 0}, SettingError, "at least 1"),
        ({"batch_size": True}, SettingError, "at least 1"),
        ({"batch_size": 2.0}, SettingError, "at least 1"),
    ],
    ids=str,
)
def test_an_invalid_setting_is_refused(
    model: Model, settings: dict[str, Any], error: Any, phrase: str
) -> None:
    with pytest.raises(error, match=phrase):
        scorecam.explain(model, "cat.png", **settings)


def test_a_layer_is_a_name_or_a_module(
    model: Model, net: nn.Module, explanation: Explanation
) -> None:
    for layer in ("body", net.body, "body.3", None):
        same(scorecam.explain(model, "cat.png", "lynx", layer=layer).heatmap, explanation.heatmap)


def test_layers_need_the_size_of_the_input(model: Model, net: nn.Module) -> None:
    with pytest.raises(SettingError, match=r"scorecam\.layers\(model, torch\.zeros"):
        scorecam.layers(net)
    for result in (scorecam.layers(model), scorecam.layers(net, torch.zeros(3, SIDE, SIDE))):
        assert [(layer.name, layer.grid) for layer in result if layer.default] == [("body", (8, 8))]


def test_progress_goes_from_zero_to_its_total(model: Model) -> None:
    reports: list[scorecam.Progress] = []
    scorecam.explain(model, "cat.png", batch_size=2, progress=reports.append)

    assert reports[0].done == 0
    assert [step.done for step in reports] == sorted({step.done for step in reports})
    assert reports[-1].done == reports[-1].total


# ── errors and files ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("BankError", ValueError),
        ("LayerError", ValueError),
        ("MemoryShortage", MemoryError),
        ("MissingExtra", ImportError),
        ("ModelError", RuntimeError),
        ("OutputError", OSError),
        ("PhotoError", ValueError),
        ("SettingError", ValueError),
        ("TargetError", ValueError),
        ("WeightsError", ModelError),
    ],
)
def test_every_error_is_also_a_builtin_exception(name: str, kind: type[Exception]) -> None:
    error = getattr(scorecam, name)("It broke.", likely="It was old.", do="Buy another.")

    assert isinstance(error, ScorecamError)
    assert isinstance(error, kind)
    assert str(error) == "It broke. It was old. Buy another."
    assert (error.what, error.likely, error.do) == ("It broke.", "It was old.", "Buy another.")


def test_errors_can_be_pickled() -> None:
    """`multiprocessing` and `concurrent.futures` pickle the errors of their workers."""
    with pytest.raises(TargetError) as caught:
        scorecam.explain(toy_models.tiny(), torch.randn(3, 8, 8), 99)
    error = pickle.loads(pickle.dumps(caught.value))

    assert isinstance(error, TargetError)
    assert str(error) == str(caught.value)


@pytest.fixture
def tiny_disk() -> Iterator[None]:
    """Limit the files of this process to 1,000 bytes."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)


@pytest.mark.usefixtures("tiny_disk")
def test_a_bank_too_large_for_the_disk_leaves_no_file(
    photo_folder: Path, explanation: Explanation
) -> None:
    """Safetensors has its own error for a full disk."""
    before = set(photo_folder.iterdir())
    with pytest.raises(OutputError, match=r"cat\.safetensors"):
        explanation.bank.save("cat.safetensors")

    assert set(photo_folder.iterdir()) == before


def test_a_bank_cannot_be_saved_below_a_file(explanation: Explanation) -> None:
    with pytest.raises(OutputError, match=r"cat\.png"):
        explanation.bank.save("cat.png/cat.safetensors")


def test_an_invalid_masking_is_refused() -> None:
    with pytest.raises(scorecam.SettingError, match="not a Masking"):
        scorecam.ScoreCAM(nn.Conv2d(3, 4, 3), masking="black")
