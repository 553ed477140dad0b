"""Planted networks of several inputs: the map is that of the masked one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import planted_inputs as networks
import scorecam
from scorecam.errors import ModelError, SettingError

SIZE = (24, 48)
LEFT, RIGHT = (slice(12, 24), slice(0, 24)), (slice(0, 12), slice(24, 48))


def picture(colours: int, rows: slice, columns: slice, size: tuple[int, int] = SIZE) -> Tensor:
    x = torch.zeros(1, colours, *size)
    inside = x[:, :, rows, columns]
    generator = torch.Generator().manual_seed(1)
    x[:, :, rows, columns] = 1 + torch.rand(inside.shape, generator=generator)
    return x


RGB = picture(3, slice(16, 24), slice(6, 18))
DEPTH = picture(1, slice(0, 8), slice(30, 42))


def energy(heatmap: Tensor, region: tuple[slice, ...]) -> float:
    return float(heatmap[region].sum() / heatmap.sum())


def explained(network: nn.Module, inputs: Any, masked: Any = None, **options: Any) -> Any:
    model = scorecam.open_model(network.eval(), masked_input=masked, **options)
    return scorecam.explain(model, inputs, 0, runtime="eager")


# ── which stream, and how it is named ────────────────────────────────────────────────────────────

WAYS: dict[str, tuple[nn.Module, Any, Any, Any]] = {
    "in order": (networks.Late(), (RGB, DEPTH), 0, 1),
    "by name": (networks.Late(), {"depth": DEPTH, "rgb": RGB}, "rgb", "depth"),
    "as one tuple": (networks.OnePair(), ((RGB, DEPTH),), 0, 1),
    "as one list": (networks.OnePair(), [[RGB, DEPTH]], 0, 1),
    "as one tuple, without the tuple": (networks.OnePair(), (RGB, DEPTH), 0, 1),
    "in a nested dict": (
        networks.Nested(),
        {"pictures": {"rgb": RGB, "depth": DEPTH}, "id": "x"},
        "pictures.rgb",
        "pictures.depth",
    ),
    "in a nested dict, by the last name": (
        networks.Nested(),
        {"pictures": {"rgb": RGB, "depth": DEPTH}},
        "rgb",
        "depth",
    ),
}


@pytest.mark.parametrize(("network", "inputs", "rgb", "depth"), WAYS.values(), ids=WAYS)
def test_each_stream_has_its_own_map_and_layer(
    network: nn.Module, inputs: Any, rgb: Any, depth: Any
) -> None:
    one, other = explained(network, inputs, rgb), explained(network, inputs, depth)
    assert one.layer.rpartition("late.")[2] == "rgb"
    assert other.layer.rpartition("late.")[2] == "depth"
    assert energy(one.heatmap, LEFT) > 0.95
    assert energy(other.heatmap, RIGHT) > 0.95


def test_streams_may_differ_in_size() -> None:
    small = DEPTH[:, :, ::2, ::2]
    explanation = explained(networks.Late((2, 3)), (RGB, small), 1)
    assert explanation.heatmap.shape == (12, 24)
    assert energy(explanation.heatmap, (slice(0, 6), slice(12, 24))) > 0.95


def test_an_ambiguous_last_name_is_refused() -> None:
    inputs = {"pictures": {"rgb": RGB, "depth": DEPTH}, "more": {"rgb": RGB}}
    with pytest.raises(SettingError, match=r"may be 'pictures\.rgb' or 'more\.rgb'"):
        explained(networks.Nested(), inputs, "rgb")


@pytest.mark.parametrize("join", [torch.cat, torch.stack], ids=["cat", "stack"])
def test_maps_of_the_other_stream_are_left_out_of_a_joined_layer(join: Any) -> None:
    for masked, region in ((0, LEFT), (1, RIGHT)):
        explanation = explained(networks.JoinedMaps(join), (RGB, DEPTH), masked)
        assert explanation.layer == "fuse"
        assert len(explanation.bank.activations) == 5
        assert energy(explanation.heatmap, region) > 0.95


def stacked(pair: list[Tensor]) -> Tensor:
    return torch.stack(pair).flatten(0, 1)


@pytest.mark.parametrize("masked", [0, 1])
@pytest.mark.parametrize("join", [torch.cat, stacked], ids=["cat", "stack"])
def test_of_a_pair_in_one_batch_the_masked_picture_is_explained(join: Any, masked: int) -> None:
    pair = [RGB, RGB.flip(3)]
    explanation = explained(networks.Verification(join), tuple(pair), masked, head="value")
    assert explanation.layer == "trunk"
    side = slice(24, 48) if masked else slice(0, 24)
    assert energy(explanation.heatmap, (slice(12, 24), side)) > 0.95


def test_pictures_that_alternate_in_the_batch_are_never_mixed_up() -> None:
    def alternating(pair: list[Tensor]) -> Tensor:
        return torch.stack(pair, 1).flatten(0, 1)

    class Alternating(networks.Verification):
        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            features = self.trunk(self.join([one, other])).mean((2, 3))
            return (features[::2] * features[1::2]).sum(1)

    with pytest.raises(scorecam.LayerError):
        explained(Alternating(alternating), (RGB, RGB.flip(3)), 1, head="value")


def test_pairs_in_one_batch_are_explained_as_if_alone() -> None:
    model = scorecam.open_model(networks.Verification().eval(), masked_input=1, head="value")
    ones, others = torch.cat([RGB, RGB.flip(3)]), torch.cat([RGB.flip(2), RGB])
    maps = scorecam.ScoreCAM(model)((ones, others))
    for i in range(2):
        alone = scorecam.ScoreCAM(model)((ones[i : i + 1], others[i : i + 1]))
        torch.testing.assert_close(maps[i], alone[0])


# ── streams of other kinds ───────────────────────────────────────────────────────────────────────


def test_a_video_and_its_sound_are_explained_one_at_a_time() -> None:
    network = networks.VideoAndSound()
    video = torch.zeros(1, networks.FRAMES, 3, *SIZE)
    video[:, 3] = RGB
    sound = torch.zeros(1, 1, 400)
    sound[..., 320:344] = torch.linspace(1, 2, 24)
    seen = explained(network, (video, sound), 0)
    assert seen.heatmap.shape == (networks.FRAMES, *SIZE)
    assert energy(seen.heatmap, (slice(3, 4), *LEFT)) > 0.95
    heard = explained(network, (video, sound), 1)
    assert heard.heatmap.shape == (400,)
    assert energy(heard.heatmap, (slice(308, 356),)) > 0.95


def test_a_masked_stream_with_channels_last_is_explained() -> None:
    class ChannelsLast(networks.WithAnother):
        def forward(self, image: Tensor, other: Any = None) -> Tensor:
            return super().forward(image.permute(0, 3, 1, 2), other)

    inputs = RGB.permute(0, 2, 3, 1), torch.rand(1, 3)
    explanation = explained(ChannelsLast(lambda vector: vector), inputs, 0)
    assert explanation.heatmap.shape == SIZE
    assert energy(explanation.heatmap, LEFT) > 0.95


AUXILIARIES: dict[str, tuple[Any, Any]] = {
    "a vector": (lambda x: x.mean(1, keepdim=True), torch.rand(1, 4)),
    "a vector for all images": (lambda x: x.mean(), torch.rand(4)),
    "token ids": (lambda x: nn.functional.one_hot(x, 3).sum(1) / 9, torch.tensor([[0, 2, 2]])),
    "complex": (lambda x: x.abs().mean((1, 2))[:, None], torch.ones(1, 2, 2) * 1j),
    "boolean": (lambda x: x.float().mean(1, keepdim=True), torch.tensor([[True, False]])),
    "left out": (None, None),
    "a scale for all images": (lambda x: x, torch.tensor([2.0])),
    "a list of words": (len, ["a", "b"]),
}


@pytest.mark.parametrize(("reads", "other"), AUXILIARIES.values(), ids=AUXILIARIES)
def test_other_inputs_of_every_type_leave_the_map_in_its_place(reads: Any, other: Any) -> None:
    network = networks.WithAnother(reads)
    for inputs in ((RGB, other), {"image": RGB, "other": other}):
        explanation = explained(network, inputs)
        assert energy(explanation.heatmap, LEFT) > 0.95


@pytest.mark.parametrize("classes", [2, 3])
def test_an_input_of_length_one_that_is_shared_is_not_repeated(classes: int) -> None:
    class Scaled(networks.WithAnother):
        def forward(self, image: Tensor, other: Any = None) -> Tensor:
            assert other.shape == (1,)
            return super().forward(image)[:, :classes] * other

    explanation = explained(Scaled(None), (RGB, torch.tensor([2.0])))
    assert energy(explanation.heatmap, LEFT) > 0.95


def test_a_kernel_of_length_one_is_not_taken_for_a_batch() -> None:
    class Blurred(networks.WithAnother):
        def forward(self, image: Tensor, other: Any = None) -> Tensor:
            assert len(other) == 1
            return super().forward(nn.functional.conv2d(image, other.repeat(3, 1, 1, 1), groups=3))

    inputs = RGB, torch.ones(1, 1, 1, 1)
    assert energy(explained(Blurred(None), inputs, 0).heatmap, LEFT) > 0.95


# ── input that does not fit ──────────────────────────────────────────────────────────────────────


def vector_network() -> nn.Module:
    return networks.WithAnother(nn.Linear(4, 3))


BAD: dict[str, tuple[nn.Module, Any, Any, str]] = {
    "rows of another batch": (vector_network(), (RGB, torch.rand(3, 4)), None, r"shape \(3, 4\)"),
    "an empty vector": (vector_network(), (RGB, torch.rand(1, 0)), None, r"shape \(1, 0\)"),
    "NaN": (vector_network(), (RGB, torch.full((1, 4), torch.nan)), None, "input 1 holds NaN"),
    "masked ids": (vector_network(), (RGB, torch.tensor([[1, 2]])), 1, "int64 numbers"),
    "an empty stream": (networks.Late(), (RGB, DEPTH[..., :0]), 1, "it is empty"),
    "no batch": (networks.Late(), (RGB[0], DEPTH[0]), 0, "One image was expected"),
    "another stream": (networks.Late(), (RGB, DEPTH), 2, "They are 0, 1"),
}


@pytest.mark.parametrize(("network", "inputs", "masked", "phrase"), BAD.values(), ids=BAD)
def test_inputs_that_do_not_fit_are_refused_with_their_cause(
    network: nn.Module, inputs: Any, masked: Any, phrase: str
) -> None:
    with pytest.raises(SettingError, match=phrase):
        explained(network, inputs, masked)


@pytest.mark.parametrize("inputs", [RGB, (RGB,), {"rgb": RGB}], ids=["tensor", "tuple", "dict"])
def test_a_missing_input_is_named_with_all_that_the_network_takes(inputs: Any) -> None:
    with pytest.raises(ModelError, match="'depth'") as caught:
        explained(networks.Late(), inputs)
    assert "rgb, depth" in caught.value.likely


def test_a_stream_without_its_batch_axis_is_a_likely_cause() -> None:
    with pytest.raises(ModelError) as caught:
        explained(networks.Late(), (RGB, DEPTH[0]), 0)
    assert "lack its batch axis" in caught.value.likely
    assert "1 (1, 24, 48)" in caught.value.likely
