"""Baseline methods: known answers, side effects, names and settings."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
from method_cases import case_of, heatmap
from network_state import Everything, snapshot, unchanged
from networks import InPlace, Residual, Signal, Volume, build, images_for
from scorecam.errors import MissingExtra, ModelError, SettingError
from scorecam.methods.method import Case
from scorecam.methods.names import METHODS, parse_methods
from scorecam.methods.rise import BATCH, RISE, random_masks
from scorecam.model.model import Model
from scorecam.testing import Regions, Spy, regions

CAPTUM = ("gradient", "smoothgrad", "integrated", "guided", "occlusion")
TORCHCAM = ("gradcam", "gradcam++", "xgradcam", "layercam")
CONTROLS = ("uniform", "random", "centre", "edges", "fakecam")
GRADIENTS = ("gradient", "smoothgrad", "integrated", "guided", *TORCHCAM, "mask")

QUICK = {
    "smoothgrad": "smoothgrad:samples=12",
    "integrated": "integrated:steps=12",
    "occlusion": "occlusion:window=0.4:stride=0.3",
    "rise": "rise:masks=70:cells=3",
    "mask": "mask:steps=5:cells=6",
}
"""Settings that make slow methods fast; other methods use their defaults."""

MADE_HERE = tuple(name for name in METHODS if name != "maps")  # those come from another program
ALL = tuple(QUICK.get(name, name) for name in MADE_HERE)

needs_libraries = pytest.mark.needs("eval")


WEIGHTS = torch.tensor([[2.0, 1.0, -3.0], [0.5, -1.0, 4.0]])
SIZES = (6, 9, 5)


@pytest.fixture
def known() -> Case:
    """A linear `Regions`, so the gradient is W everywhere."""
    return case_of(Regions(WEIGHTS), regions(SIZES, 5, 4), 0, "maps")


# ── known answers ────────────────────────────────────────────────────────────────────────────


@needs_libraries
def test_the_gradient_of_a_linear_network_is_its_largest_weight(known: Case) -> None:
    assert torch.equal(heatmap("gradient", known), torch.full((5, 4), 3.0))
    other = dataclasses.replace(known, target=1)
    assert torch.equal(heatmap("gradient", other), torch.full((5, 4), 4.0))


@needs_libraries
def test_smoothgrad_of_a_linear_network_is_its_gradient(known: Case) -> None:
    result = heatmap("smoothgrad:samples=23:sigma=0.5", known)
    torch.testing.assert_close(result, torch.full((5, 4), 3.0))


@needs_libraries
def test_integrated_gradients_when_linear_are_weight_times_value(known: Case) -> None:
    expected = (WEIGHTS[0].abs()[:, None, None] * known.image).sum(dim=0)
    torch.testing.assert_close(heatmap("integrated", known), expected)


@needs_libraries
def test_integrated_gradients_are_complete() -> None:
    """If all attributions have one sign, the map sums to z(X) − z(0)."""

    class Squares(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.Conv2d(3, 3, 1)

        def forward(self, images: Tensor) -> Tensor:
            z = images.square().sum((1, 2, 3)) + images.pow(4).sum((1, 2, 3))
            return torch.stack([z + 7, -z, z * 0], dim=1)

    image = torch.rand(3, 6, 5)
    case = case_of(Squares(), image, 0, "maps")
    total = float(image.square().sum() + image.pow(4).sum())
    assert float(heatmap("integrated", case).sum()) == pytest.approx(total, rel=1e-5)


@needs_libraries
def test_gradcam_of_a_linear_network_is_the_weighted_image(known: Case) -> None:
    expected = torch.tensordot(WEIGHTS[0], known.image, dims=1).relu()
    torch.testing.assert_close(heatmap("gradcam", known), expected)
    torch.testing.assert_close(heatmap("xgradcam", known), expected)
    positive = torch.tensordot(WEIGHTS[0].relu(), known.image, dims=1)
    torch.testing.assert_close(heatmap("layercam", known), positive)


@needs_libraries
def test_occlusion_is_the_drop_in_probability() -> None:
    case = case_of(Regions(WEIGHTS), regions(SIZES, 5, 4), 0, "maps", head="value")
    # One pixel at a time: the value falls by that pixel's weight.
    expected = torch.tensordot(WEIGHTS[0], case.image, dims=1)
    torch.testing.assert_close(heatmap("occlusion:window=0.2:stride=0.2", case), expected)


@needs_libraries
def test_occlusion_covers_every_pixel() -> None:
    image = torch.rand(3, 23, 17) + 0.5
    case = case_of(Regions(torch.ones(2, 3)), image, 0, "maps", head="value")
    assert float(heatmap("occlusion:window=0.11:stride=0.11", case).min()) > 0


def test_rise_of_a_linear_value_equals_the_expected_masks() -> None:
    """P(X·M) = Σ_y X(y) M(y), so pixel x gets Σ_y X(y) Σ_i M_i(x) M_i(y) / (N p)."""
    image = torch.zeros(3, 28, 28)
    image[0, 4:10, 16:22] = 1
    case = case_of(Regions(torch.eye(3)[:2]), image, 0, "maps", head="value", seed=6)
    result = heatmap("rise:masks=3000:p=0.4", case)
    masks = torch.cat(list(random_masks(image, RISE(masks=3000, p=0.4), seed=6)))
    agree = torch.einsum("ixy,i->xy", masks, (masks * image[0]).sum((1, 2))) / (3000 * 0.4)
    torch.testing.assert_close(result, agree, rtol=1e-5, atol=0)
    mean = 0.4 * float(image.sum())  # E[P], the value of a pixel far away
    assert float(result[16:, :10].mean()) == pytest.approx(mean, rel=0.1)
    assert float(result[6:8, 18:20].mean()) > 1.2 * mean
    peak = int(result.argmax())
    assert 4 <= peak // 28 < 10
    assert 16 <= peak % 28 < 22


def test_rise_of_a_constant_is_uniform() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.Conv2d(3, 2, 1)

        def forward(self, images: Tensor) -> Tensor:
            return torch.full((len(images), 2), 3.0)

    case = case_of(Constant(), torch.rand(3, 20, 30), 1, "maps", head="value")
    result = heatmap("rise:masks=2000:cells=4:p=0.3", case)
    assert float(result.mean()) == pytest.approx(3.0, rel=0.02)
    assert float((result - 3).abs().max()) < 0.4


def test_rise_draws_its_many_masks_in_batches() -> None:
    rise = RISE(masks=150, cells=5, p=0.25)
    batches = list(random_masks(torch.rand(3, 32, 48), rise, seed=1))
    assert [len(batch) for batch in batches] == [BATCH, BATCH, 150 - 2 * BATCH]
    masks = torch.cat(batches)
    assert masks.shape == (150, 32, 48)
    assert float(masks.min()) >= 0
    assert float(masks.max()) <= 1
    assert float(masks.mean()) == pytest.approx(0.25, abs=0.02)
    assert len({mask.numpy().tobytes() for mask in masks}) > 140
    again = torch.cat(list(random_masks(torch.rand(3, 32, 48), rise, seed=1)))
    other = torch.cat(list(random_masks(torch.rand(3, 32, 48), rise, seed=2)))
    assert torch.equal(masks, again)
    assert not torch.equal(masks, other)


def test_rise_takes_one_pass_per_mask() -> None:
    spy = Spy(Regions(WEIGHTS))
    case = case_of(spy, regions(SIZES, 5, 4), 0, "network.maps", head="logits")
    case.scorer  # noqa: B018  runs its own passes first
    spy.seen.clear()
    heatmap("rise:masks=100:cells=2", case)
    assert len(spy.images) == 100


def test_mask_finds_the_region_that_carries_the_class() -> None:
    """Detects texture in one place; only blurring there hides the class."""

    class Texture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.Conv2d(3, 3, 1)

        def forward(self, images: Tensor) -> Tensor:
            rough = images[:, :, 8:24, 40:56].square().mean((1, 2, 3))
            return torch.stack([12 * rough - 3, torch.zeros_like(rough)], dim=1)

    checks = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 2.0 - 1
    case = case_of(Texture(), checks.expand(3, 64, 64), 0, "maps")
    result = heatmap("mask:steps=150:cells=16:l1=0.01", case)
    inside = result[8:24, 40:56]
    assert float(inside.mean()) > 0.4
    assert float(inside.sum() / result.sum()) > 0.5
    assert float(result[40:, :32].mean()) < 0.02
    assert float(result.min()) >= 0
    assert float(result.max()) <= 1


# ── yes or no ────────────────────────────────────────────────────────────────────────────────


class YesNo(nn.Module):
    """One column, a logit or a probability, with different weights per pixel."""

    def __init__(self, *, probability: bool = False) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.answer = nn.Linear(4, 1)
        self.probability = probability

    def forward(self, images: Tensor) -> Tensor:
        logit = self.answer(self.relu(self.maps(images)).mean((2, 3)))
        return logit.sigmoid() if self.probability else 20 * logit


@needs_libraries
@pytest.mark.parametrize("probability", [False, True])
@pytest.mark.parametrize("head", ["auto", "declared"])
def test_the_negative_class_is_the_reverse_of_the_positive(probability: bool, head: str) -> None:
    network = YesNo(probability=probability)
    image = torch.rand(3, 9, 8)
    declared = "probabilities" if probability else "logits"
    head = declared if head == "declared" else head
    yes = case_of(network, image, 0, "maps", head=head)
    no = dataclasses.replace(yes, target=1)
    assert torch.equal(heatmap("gradient", yes), heatmap("gradient", no))
    for_yes, for_no = heatmap("gradcam", yes), heatmap("gradcam", no)
    assert float(for_yes.max()) > 0 or float(for_no.max()) > 0
    assert float((for_yes * for_no).abs().max()) == 0  # the ReLU of a map and of its negative


@needs_libraries
def test_a_target_out_of_range_is_refused() -> None:
    case = case_of(Regions(WEIGHTS), regions(SIZES, 5, 4), 7, "maps")
    with pytest.raises(scorecam.TargetError, match="no class 7"):
        heatmap("gradient", case)


# ── every method ─────────────────────────────────────────────────────────────────────────────


@needs_libraries
@pytest.mark.parametrize("name", ALL)
def test_a_map_is_float32_of_image_size_and_reproducible(name: str) -> None:
    network = build(InPlace)
    image = images_for(network)[0]
    result = heatmap(name, case_of(network, image, 1, "norm", seed=3))
    assert result.shape == image.shape[1:]
    assert result.dtype == torch.float32
    assert result.device == image.device
    assert not result.requires_grad
    assert not result.is_inference()
    assert bool(result.isfinite().all())
    torch.rand(5)  # the random state moves on, and the map does not
    assert torch.equal(result, heatmap(name, case_of(network, image, 1, "norm", seed=3)))


@needs_libraries
@pytest.mark.parametrize(
    "name", [QUICK["smoothgrad"], QUICK["rise"], "random", QUICK["mask"] + ":jitter=20"]
)
def test_random_methods_follow_the_seed(name: str) -> None:
    network = build(InPlace)
    image = images_for(network)[0]
    maps = [heatmap(name, case_of(network, image, 1, "norm", seed=seed)) for seed in (1, 2)]
    assert not torch.equal(*maps)


@needs_libraries
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("mode", ["mixed", "training"])
def test_the_network_is_unchanged(name: str, mode: str) -> None:
    network = Everything()
    if mode == "training":
        network.train()
    image = torch.rand(3, 24, 40)
    before, version = image.clone(), image._version
    case = case_of(network, image, 2, "body")
    with unchanged(network):
        heatmap(name, case)
    assert torch.equal(image, before)
    assert image._version == version
    assert not image.requires_grad
    assert image.grad is None


@needs_libraries
@pytest.mark.parametrize("name", ALL)
def test_existing_gradients_are_kept(name: str) -> None:
    network = Everything()
    kept: dict[str, Tensor] = {}
    for key, parameter in network.named_parameters():
        if parameter.requires_grad:
            kept[key] = parameter.grad = torch.rand_like(parameter)
    copies = {key: grad.clone() for key, grad in kept.items()}
    heatmap(name, case_of(network, torch.rand(3, 24, 40), 2, "body"))
    for key, parameter in network.named_parameters():
        assert parameter.grad is kept.get(key)
        assert parameter.grad is None or torch.equal(parameter.grad, copies[key])


class FailsAtPass(nn.Module):
    """Raises an error in the middle of pass number `at`."""

    def __init__(self, network: Everything) -> None:
        super().__init__()
        self.network = network
        self.at = 0
        self.passes = 0

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        features = self.network.body(self.network.stem(images))
        if self.passes == self.at:
            raise ValueError("boom")
        return self.network.classes(features.mean((2, 3)))


@needs_libraries
@pytest.mark.parametrize("name", [name for name in ALL if name.split(":")[0] not in CONTROLS])
@pytest.mark.parametrize("when", ["first", "last"])
def test_the_network_is_unchanged_after_an_error(name: str, when: str) -> None:
    network = FailsAtPass(Everything())
    network.network.body[0]._forward_hooks.clear()
    image = torch.rand(3, 24, 40)
    case = case_of(network, image, 2, "network.body", head="logits")
    if name.startswith(("occlusion", "rise")):
        case.scorer  # noqa: B018
    network.passes = 0
    heatmap(name, dataclasses.replace(case))
    total, network.passes = network.passes, 0
    assert total > 0
    network.at = 1 if when == "first" else total
    watched = snapshot(network)
    with pytest.raises(ModelError, match="boom"):
        heatmap(name, dataclasses.replace(case))
    network.passes = 0
    result = snapshot(network)
    assert [key for key in watched if watched[key] != result[key]] == []


@needs_libraries
@pytest.mark.parametrize("name", [QUICK.get(name, name) for name in GRADIENTS])
def test_inference_mode_of_image_or_caller_works(name: str) -> None:
    network = build(InPlace)
    image = images_for(network)[0]
    expected = heatmap(name, case_of(network, image, 1, "norm"))
    with torch.inference_mode():
        inside = heatmap(name, case_of(network, image.clone(), 1, "norm"))
    assert torch.equal(inside, expected)
    assert not inside.is_inference()


@needs_libraries
@pytest.mark.parametrize("name", [QUICK.get(name, name) for name in GRADIENTS])
def test_a_network_that_overwrites_its_input_has_the_same_map(name: str) -> None:
    class Scales(nn.Module):
        def __init__(self, *, in_place: bool) -> None:
            super().__init__()
            self.network = build(InPlace)
            self.in_place = in_place

        def forward(self, images: Tensor) -> Tensor:
            return self.network(images.mul_(2) if self.in_place else images * 2)

    image = images_for(build(InPlace))[0]
    maps = [
        heatmap(name, case_of(Scales(in_place=in_place), image, 1, "network.norm"))
        for in_place in (False, True)
    ]
    assert torch.equal(*maps)


@needs_libraries
@pytest.mark.parametrize("name", [QUICK.get(name, name) for name in GRADIENTS])
def test_double_precision_networks_are_explained(name: str) -> None:
    network = build(InPlace)
    image = images_for(network)[0]
    single = heatmap(name, case_of(network, image, 1, "norm"))
    double = heatmap(name, case_of(network.double(), image, 1, "norm"))
    torch.testing.assert_close(double, single, rtol=1e-3, atol=1e-4 * float(single.max()))


@needs_libraries
@pytest.mark.parametrize("kind", [Signal, Volume])
@pytest.mark.parametrize(
    "name", [name for name in ALL if name.split(":")[0] not in ("mask", "edges")]
)
def test_signals_and_volumes_are_explained(kind: Any, name: str) -> None:
    network = build(kind)
    image = images_for(network)[0]
    result = heatmap(name, case_of(network, image, 1, "relu"))
    assert result.shape == image.shape[1:]
    assert bool(result.isfinite().all())


@pytest.mark.parametrize("kind", [Signal, Volume])
@pytest.mark.parametrize("name", ["mask", "edges"])
def test_methods_for_photos_refuse_other_input(kind: Any, name: str) -> None:
    network = build(kind)
    with pytest.raises(SettingError, match=f"{name} is for photos"):
        heatmap(name, case_of(network, images_for(network)[0], 1, "relu"))


@needs_libraries
@pytest.mark.parametrize(
    "name", [QUICK.get(name, name) for name in (*GRADIENTS, "rise", "occlusion")]
)
def test_a_map_with_nonfinite_numbers_is_an_error(name: str) -> None:
    network = build(InPlace)
    network.classes.weight.data[:] = torch.nan
    case = case_of(network, images_for(network)[0], 1, "norm", head="logits")
    with pytest.raises(ModelError, match="finite"):
        heatmap(name, case)


# ── models that cannot be differentiated ─────────────────────────────────────────────────────


class BlackBox(Model):
    """A model that only returns scores."""

    def __init__(self, inner: Model) -> None:
        self._inner = inner
        self.spec = "a service"
        self.preprocess, self.names, self.head = None, inner.names, inner.head
        self.remarks = ()

    axes = property(lambda self: self._inner.axes)
    device = property(lambda self: self._inner.device)
    precision = property(lambda self: self._inner.precision)
    layers = lambda self, images: self._inner.layers(images)  # noqa: E731
    find_layer = lambda self, layer, images: self._inner.find_layer(layer, images)  # noqa: E731
    activations = lambda self, images, layer: self._inner.activations(images, layer)  # noqa: E731
    scores = lambda self, images: self._inner.scores(images)  # noqa: E731
    with_readout = lambda self, readout: self._inner.with_readout(readout)  # noqa: E731
    split_inputs = lambda self, inputs: self._inner.split_inputs(inputs)  # noqa: E731


@needs_libraries
@pytest.mark.parametrize("name", ALL)
def test_a_black_box_is_explained_without_gradients_or_refused(name: str) -> None:
    network = build(InPlace)
    case = case_of(BlackBox(scorecam.open_model(network)), images_for(network)[0], 1, "norm")
    if name.partition(":")[0] in GRADIENTS:
        with pytest.raises(ModelError, match=r"a service cannot be differentiated.*rise"):
            heatmap(name, case)
    else:
        assert bool(heatmap(name, case).isfinite().all())


# ── guided backprop ──────────────────────────────────────────────────────────────────────────


def rectified(rectifier: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), rectifier(), nn.Conv2d(6, 6, 3), rectifier(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(6, 4),
    ).eval()  # fmt: skip


def _next(kinds: Iterator[Callable[[], nn.Module]]) -> nn.Module:
    return next(kinds)()


@needs_libraries
def test_guided_backprop_is_not_the_gradient() -> None:
    case = case_of(rectified(nn.ReLU), torch.rand(3, 12, 12), 1, "3")
    assert not torch.allclose(heatmap("guided", case), heatmap("gradient", case))


@needs_libraries
def test_guided_backprop_works_with_in_place_relus() -> None:
    image = torch.rand(3, 12, 12)
    apart = heatmap("guided", case_of(rectified(nn.ReLU), image, 1, "3"))
    in_place = functools.partial(nn.ReLU, inplace=True)
    assert torch.equal(heatmap("guided", case_of(rectified(in_place), image, 1, "3")), apart)


@needs_libraries
@pytest.mark.parametrize("rectifier", [nn.ReLU6, nn.GELU, nn.LeakyReLU])
def test_guided_backprop_refuses_networks_without_relu(rectifier: Any) -> None:
    case = case_of(rectified(rectifier), torch.rand(3, 12, 12), 1, "3")
    with pytest.raises(SettingError, match=r"guided is defined by the ReLUs.*Use gradient"):
        heatmap("guided", case)


@needs_libraries
def test_guided_backprop_refuses_relus_that_captum_misses() -> None:
    network = build(Residual)  # relu_() as a function
    case = case_of(network, images_for(network)[0], 1, "block")
    with pytest.raises(SettingError, match=r"also rectifies by Relu|Captum guides nn\.ReLU"):
        heatmap("guided", case)
    kinds = itertools.cycle([nn.ReLU, nn.ReLU6])
    mixed = case_of(rectified(functools.partial(_next, kinds)), torch.rand(3, 12, 12), 1, "3")
    with pytest.raises(SettingError, match="also rectifies by Hardtanh"):
        heatmap("guided", mixed)


# ── names and settings ───────────────────────────────────────────────────────────────────────


def test_every_method_has_defaults_and_a_citation() -> None:
    methods = parse_methods(",".join(MADE_HERE))
    assert [method.name for method in methods] == list(MADE_HERE)
    for method in methods:
        assert method.source
        for key, value in METHODS[method.name].defaults().items():
            assert method.settings[key] == value
        assert all(isinstance(value, int | float | str) for value in method.settings.values())


OWN = [name for name in MADE_HERE if name not in (*TORCHCAM, "scorecam")]


@pytest.mark.parametrize("name", OWN)
def test_a_method_has_a_name_and_settings(name: str) -> None:
    method = METHODS[name]
    defaults = {field.name: field.default for field in dataclasses.fields(method) if field.init}
    assert defaults.pop("name") == ""
    assert defaults == method.defaults()
    assert list(inspect.signature(method).parameters) == ["name", *method.defaults()]


def test_settings_are_parsed_and_names_kept_as_written() -> None:
    rise, occlusion, cam = parse_methods(" rise:masks=1000:cells=8 ,occlusion:window=0.5,scorecam")
    assert rise.name == "rise:masks=1000:cells=8"
    assert dict(rise.settings) | {"masks": 1000, "cells": 8, "p": 0.5} == dict(rise.settings)
    assert occlusion.settings["window"] == 0.5
    assert cam.settings["variant"] == "auto"


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("gradcm", "Did you mean 'gradcam'"),
        ("rise:mask=3", "Did you mean 'masks'"),
        ("rise:masks", "rise has no setting 'masks'"),
        ("rise:masks=", "rise:masks= is not a whole number"),
        ("rise:masks=many", "is not a whole number"),
        ("rise:masks=2.5", "is not a whole number"),
        ("rise:p=half", "is not a number"),
        ("rise:p=nan", "is not a number"),
        ("rise:p=1.5", "p=1.5 must be greater than 0 and at most 1"),
        ("rise:masks=0", "masks=0 is less than 1"),
        ("rise:masks=3:masks=4", "'masks' twice"),
        ("occlusion:window=0", "window=0 must be greater than 0"),
        ("occlusion:window=0.1:stride=0.2", "stride=0.2 is more than window=0.1"),
        ("smoothgrad:sigma=-1", "sigma=-1 must be greater than 0"),
        ("mask:l1=-1", "l1=-1 must be at least 0"),
        ("mask:steps=0", "steps=0 is less than 1"),
        ("integrated:steps=-4", "steps=-4 is less than 1"),
        ("centre:sigma=0", "sigma=0 must be greater"),
        ("gradcam:target=3", "It takes no settings"),
        ("gradcam,rise,gradcam", "'gradcam' is listed twice"),
        ("scorecam,scorecam:variant=auto", "are the same"),
        ("rise:p=0.5,rise:masks=4000", "are the same"),
        (" , ", "No method was given"),
    ],
)
def test_invalid_method_lists_are_refused(text: str, phrase: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse_methods(text)
    assert phrase in str(caught.value)


@pytest.mark.parametrize("name", [*CAPTUM, *TORCHCAM])
def test_a_missing_library_is_named_when_needed(
    name: str, monkeypatch: pytest.MonkeyPatch, known: Case
) -> None:
    for module in ("captum", "captum.attr", "torchcam", "torchcam.methods"):
        monkeypatch.setitem(sys.modules, module, None)
    (method,) = parse_methods(name)
    with pytest.raises(MissingExtra) as caught:
        method.heatmap(known)
    assert "pip install 'scorecam[eval]'" in str(caught.value)


def test_methods_without_a_library_run_without_it(
    monkeypatch: pytest.MonkeyPatch, known: Case
) -> None:
    for module in ("captum", "captum.attr", "torchcam", "torchcam.methods"):
        monkeypatch.setitem(sys.modules, module, None)
    for name in ("scorecam", QUICK["rise"], QUICK["mask"], *CONTROLS):
        heatmap(name, known)
