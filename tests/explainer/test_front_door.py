"""The Python interface accepts many kinds of models and photos, and changes none of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import scorecam
import toy_models
from command_line import NAMES, PREPROCESS, picture, whole
from scorecam import (
    Model,
    ModelError,
    PhotoError,
    Preprocess,
    ScorecamError,
    SettingError,
    WeightsError,
)

pytestmark = pytest.mark.usefixtures("photo_folder")


PRE = Preprocess.from_dict(PREPROCESS)


def same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


# ── opening a model ──────────────────────────────────────────────────────────────────────────


def test_a_bare_network_and_a_tensor_need_nothing_else(net: nn.Module) -> None:
    result = scorecam.explain(net, torch.randn(3, 12, 20))

    assert result.heatmap.shape == (12, 20)
    assert result.heatmap.dtype == torch.float32
    assert float(result.heatmap.min()) >= 0
    assert result.target.name is None
    assert result.photo is None


def test_a_network_a_factory_and_a_named_network_are_models(net: nn.Module) -> None:
    for spec in (net, "toy_models:tiny", "toy_models:a_module"):
        model = scorecam.open_model(spec)

        assert isinstance(model, Model)
        assert scorecam.explain(model, torch.randn(3, 8, 8)).layer == "body"


def test_a_model_records_how_it_was_named(net: nn.Module) -> None:
    assert scorecam.open_model(net).spec == "Tiny"
    assert scorecam.open_model("toy_models:tiny").spec == "toy_models:tiny"


@pytest.mark.needs("demo")
def test_lite0_has_weights_preprocessing_and_classes() -> None:
    model = scorecam.open_model("lite0")

    assert model.preprocess == Preprocess.lite(224)
    assert model.names is not None
    assert (len(model.names), model.names[281]) == (1000, "tabby")
    [default] = [layer for layer in scorecam.layers(model) if layer.default]
    assert (default.name, default.channels, default.grid) == ("head", 1280, (7, 7))


@pytest.mark.needs("torchvision")
def test_a_torchvision_model_has_preprocessing_and_classes() -> None:
    model = scorecam.open_model("torchvision:resnet18", weights="random")

    assert model.preprocess == Preprocess.imagenet()
    assert model.names is not None
    assert model.names[281] == "tabby"
    assert any("untrained" in remark for remark in model.remarks)


@pytest.mark.needs("torchvision")
def test_the_class_count_follows_the_weights_with_a_remark() -> None:
    from torchvision import models

    torch.save({"state_dict": models.squeezenet1_1(num_classes=7).state_dict()}, "seven.pt")
    model = scorecam.open_model("torchvision:squeezenet1_1", weights="seven.pt")

    assert model.names is None
    assert any("7 classes" in remark for remark in model.remarks)
    assert len(scorecam.ScoreCAM(model).bank(torch.randn(3, 64, 64)).image_scores) == 7


@pytest.mark.parametrize("thing", [None, 3, {"state_dict": {}}, Path("model.pt"), nn.Module])
def test_anything_but_a_model_is_refused(thing: Any) -> None:
    with pytest.raises(ModelError, match=r"torch\.nn\.Module"):
        scorecam.open_model(thing)


def test_preprocessing_and_labels_can_be_replaced() -> None:
    model = scorecam.open_model(
        "toy_models:tiny", preprocess=Path("preprocess.json"), labels="names.txt"
    )

    assert model.preprocess == PRE
    assert model.names == NAMES


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {f"_orig_mod.{name}": tensor for name, tensor in state.items()},
    ],
    ids=["plain", "state_dict", "model and module.", "compiled"],
)
def test_checkpoints_are_unwrapped(
    wrap: Callable[[dict[str, Tensor]], dict[str, Any]], net: nn.Module
) -> None:
    trained = toy_models.tiny(seed=9)
    torch.save(wrap(trained.state_dict()), "checkpoint.pt")
    x = torch.randn(3, 8, 8)

    loaded = scorecam.explain(scorecam.open_model(net, weights="checkpoint.pt"), x, 0)
    same(loaded.heatmap, scorecam.explain(trained, x, 0).heatmap)


# ── the user's own module ────────────────────────────────────────────────────────────────────


def snapshot(module: nn.Module) -> dict[str, Any]:
    """Everything about a module that explaining it could disturb."""
    return {
        "values": {name: tensor.clone() for name, tensor in module.state_dict().items()},
        "places": {name: tensor.data_ptr() for name, tensor in module.state_dict().items()},
        "modes": {name: child.training for name, child in module.named_modules()},
        "grads": {name: value.requires_grad for name, value in module.named_parameters()},
        "hooks": sum(
            len(child._forward_hooks) + len(child._forward_pre_hooks) for child in module.modules()
        ),
        "attributes": {name: sorted(vars(child)) for name, child in module.named_modules()},
    }


def assert_unchanged(module: nn.Module, before: dict[str, Any]) -> None:
    after = snapshot(module)
    values, result = before.pop("values"), after.pop("values")
    assert after == before
    for name, value in values.items():
        assert torch.equal(value, result[name]), name


@pytest.fixture
def peculiar(net: nn.Module) -> nn.Module:
    """A network with parts in different modes."""
    net.train()
    net.body.eval()
    net.body[1].train()
    net.classifier.weight.requires_grad_(requires_grad=False)
    net.body[0].register_forward_hook(lambda *_: None)
    return net


def test_explaining_does_not_change_the_network(peculiar: nn.Module) -> None:
    before = snapshot(peculiar)
    model = scorecam.open_model(peculiar, preprocess=PRE)
    scorecam.explain(model, "cat.png")
    scorecam.layers(model)

    assert_unchanged(peculiar, before)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_other_weights_or_devices_use_a_copy(peculiar: nn.Module, device: str) -> None:
    before = snapshot(peculiar)
    torch.save(toy_models.tiny(seed=3).state_dict(), "other.pt")
    x = torch.randn(3, 8, 8)
    own = scorecam.explain(peculiar, x, 0)
    opened = scorecam.open_model(peculiar, weights="other.pt", device=device)
    assert_unchanged(peculiar, before)

    if device == "cpu":
        other = scorecam.explain(opened, x, 0)
        assert not torch.equal(own.heatmap, other.heatmap)


def test_misfitting_weights_do_not_change_the_network(peculiar: nn.Module) -> None:
    before = snapshot(peculiar)
    torch.save(toy_models.tiny(classes=7).state_dict(), "seven.pt")
    with pytest.raises(WeightsError, match=r"classifier\.weight"):
        scorecam.open_model(peculiar, weights="seven.pt")

    assert_unchanged(peculiar, before)


def test_the_users_tensor_and_picture_are_not_changed(model: Model) -> None:
    x, photo = torch.randn(3, 8, 8), picture(0)
    copies = x.clone(), photo.copy()
    scorecam.explain(model, x)
    scorecam.explain(model, photo).overlay()

    assert torch.equal(x, copies[0])
    assert photo == copies[1]


# ── devices ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("device", ["gpu", "", "cuda:99", "cpu:x"])
def test_an_absent_device_is_refused(net: nn.Module, device: str) -> None:
    with pytest.raises(SettingError, match="scorecam doctor"):
        scorecam.open_model(net, device=device)


def test_the_meta_device_cannot_explain(net: nn.Module) -> None:
    with pytest.raises(ScorecamError, match="meta"):
        scorecam.explain(scorecam.open_model(net, device="meta"), torch.randn(3, 8, 8))


def test_a_device_is_a_name_or_an_object(net: nn.Module) -> None:
    for device in ("cpu", torch.device("cpu"), None):
        assert scorecam.open_model(net, device=device).device == torch.device("cpu")


# ── photos ───────────────────────────────────────────────────────────────────────────────────


def test_a_photo_without_preprocessing_is_refused_with_advice(net: nn.Module) -> None:
    line = 'scorecam.open_model(net, preprocess="imagenet")'
    with pytest.raises(PhotoError, match="not known how to turn a photo") as caught:
        scorecam.explain(net, "cat.png")

    assert line in str(caught.value)
    opened = eval(line, {"scorecam": scorecam, "net": net})
    assert scorecam.explain(opened, "cat.png").heatmap.shape == (224, 224)


def test_a_photo_is_a_path_a_picture_an_array_or_a_tensor(model: Model) -> None:
    photo = whole("cat.png")
    array = np.array(photo)
    expected = scorecam.explain(model, "cat.png", 0).heatmap

    for given in (Path("cat.png"), photo, array, array / 255.0, PRE(photo), PRE(photo)[None]):
        same(scorecam.explain(model, given, 0).heatmap, expected)


@pytest.mark.parametrize(
    ("given", "error", "phrase"),
    [
        ("nowhere.png", PhotoError, "no file"),
        (3, PhotoError, "int"),
        (None, PhotoError, "NoneType"),
        (np.zeros((3, 16, 16), np.uint8), PhotoError, "transpose"),
        (np.zeros((16, 16, 3), np.int64), PhotoError, "dtype"),
        (np.full((16, 16, 3), 255.0), PhotoError, r"\[0, 1\]"),
        (torch.zeros(3, 16, 16, dtype=torch.uint8), SettingError, "uint8"),
        (torch.full((3, 16, 16), torch.nan), SettingError, "NaN"),
        (torch.zeros(2, 3, 16, 16), SettingError, "One image"),
        (torch.zeros(16), SettingError, "shape"),
        (torch.zeros(3, 0, 16), SettingError, "shape"),
        (torch.zeros(1, 16, 16), ModelError, "colours"),
    ],
    ids=lambda value: type(value).__name__ + str(getattr(value, "shape", "")),
)
def test_anything_but_a_photo_is_refused(model: Model, given: Any, error: Any, phrase: str) -> None:
    with pytest.raises(error, match=phrase):
        scorecam.explain(model, given)


def test_a_rotated_photo_is_explained_upright() -> None:
    """A crop makes a wrong or missing rotation show the model other pixels."""
    tall = picture(4, 20, 60)
    exif = Image.Exif()
    exif[0x0112] = 6
    tall.transpose(Image.Transpose.ROTATE_90).save("turned.png", exif=exif)
    tall.save("upright.png")
    cropping = scorecam.open_model(
        toy_models.tiny(), preprocess=Preprocess.from_dict(PREPROCESS | {"fit": "crop_resize"})
    )

    turned, upright = (
        scorecam.explain(cropping, name, 0) for name in ("turned.png", "upright.png")
    )
    assert turned.photo is not None
    assert turned.photo.size == (20, 60)
    assert turned.on_photo().shape == (60, 20)
    same(turned.on_photo(), upright.on_photo())
    np.testing.assert_array_equal(np.asarray(turned.overlay()), np.asarray(upright.overlay()))


# ── labels ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "labels",
    [
        list(NAMES),
        NAMES,
        "names.txt",
        Path("names.txt"),
        "list.json",
        "object.json",
        "windows.txt",
    ],
    ids=str,
)
def test_labels_are_a_list_lines_or_json(net: nn.Module, labels: Any) -> None:
    Path("list.json").write_text(json.dumps(NAMES), "utf-8")
    Path("object.json").write_text(json.dumps(dict(enumerate(NAMES))), "utf-8")
    Path("windows.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(NAMES).encode())

    assert scorecam.open_model(net, labels=labels).names == NAMES


def test_imagenet_has_a_thousand_labels(net: nn.Module) -> None:
    names = scorecam.open_model(net, labels="imagenet").names

    assert names is not None
    assert (len(names), names[0], names[-1]) == (1000, "tench", "toilet tissue")
