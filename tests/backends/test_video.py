"""Planted videos: the map lies in the frame and in the place that decide the scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import planted_inputs as networks
import scorecam
from scorecam.methods.names import heatmaps, parse_methods

SIZE = (24, 48)
FRAME = 3
REGION = (slice(FRAME, FRAME + 1), slice(12, 24), slice(0, 24))
"""Half a frame: the region is brighter within it, and the map is smooth."""


def video(frame: int = FRAME) -> Tensor:
    """`1 t c h w`: black, but for a region of one frame."""
    x = torch.zeros(1, networks.FRAMES, 3, *SIZE)
    inside = 1 + torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(1))
    x[:, frame, :, 16:24, 6:18] = inside
    return x


def energy(heatmap: Tensor, region: tuple[slice, ...] = REGION) -> float:
    return float(heatmap[region].sum() / heatmap.sum())


TIME_FIRST: dict[str, nn.Module] = {
    **{
        f"folded, {how}": networks.FoldedFrames(how)
        for how in ("mean", "last step of an LSTM", "attention")
    },
    "folded, time first": networks.FoldedTimeFirst(),
    "a loop": networks.LoopOverFrames(),
    "a loop backwards": networks.LoopBackwards(),
    "stacked maps": networks.StackedMaps(),
    "3-D convolutions": networks.Convolutions3dTimeFirst(),
    "tokens": networks.SpaceTimeTokens(),
}
COLOURS_FIRST: dict[str, nn.Module] = {
    "folded, colours first": networks.FoldedColoursFirst(),
    "3-D convolutions, colours first": networks.Convolutions3d(),
}


@pytest.mark.parametrize("batch", [True, False], ids=["b t c h w", "t c h w"])
@pytest.mark.parametrize("name", [*TIME_FIRST, *COLOURS_FIRST])
def test_the_map_of_a_video_lies_in_the_planted_frame_and_place(name: str, batch: bool) -> None:
    network: Any = (TIME_FIRST | COLOURS_FIRST)[name].eval()
    x = video() if name in TIME_FIRST else video().transpose(1, 2)
    explanation = scorecam.explain(network, x if batch else x[0], 0, runtime="eager")
    assert explanation.layer == network.layer
    assert explanation.bank.activations.shape == (5, networks.FRAMES, 6, 8)
    assert explanation.heatmap.shape == (networks.FRAMES, *SIZE)
    assert energy(explanation.heatmap) > 0.95


@pytest.mark.parametrize("name", TIME_FIRST)
def test_videos_of_a_batch_are_explained_as_if_alone(name: str) -> None:
    network: Any = TIME_FIRST[name].eval()
    videos = torch.cat([video(), video(1), video(0).flip(4)])
    maps = scorecam.ScoreCAM(network)(videos, 0)
    for x, together in zip(videos, maps, strict=True):
        alone = scorecam.ScoreCAM(network)(x[None], 0)[0]
        torch.testing.assert_close(together, alone)
    assert energy(maps[1], (slice(1, 2), *REGION[1:])) > 0.95
    assert energy(maps[2], (slice(0, 1), slice(12, 24), slice(24, 48))) > 0.95


def test_a_layer_by_name_is_followed_into_the_batch() -> None:
    network = networks.FoldedFrames().eval()
    for x in (video(), video()[0]):
        bank = scorecam.ScoreCAM(network, "cnn.stem").bank(x)
        expected = network.cnn.stem(video()[0]).transpose(0, 1)
        torch.testing.assert_close(bank.activations, expected)


def test_the_order_within_the_batch_is_found_with_two_videos() -> None:
    one, other = networks.FoldedFrames().eval(), networks.FoldedTimeFirst().eval()
    videos = torch.cat([video(), video(1)])
    for network in (one, other):
        maps = scorecam.ScoreCAM(network)(videos, 0)
        assert energy(maps[0]) > 0.95
        assert energy(maps[1], (slice(1, 2), *REGION[1:])) > 0.95


def test_one_call_of_several_is_refused_and_the_joined_calls_are_named() -> None:
    with pytest.raises(scorecam.LayerError, match="4 of 5 along axis 0") as caught:
        scorecam.explain(networks.LoopOverFrames().eval(), video(), 0, layer="cnn#4")
    assert "'cnn'" in caught.value.do


def test_the_calls_of_a_loop_are_one_layer_with_all_frames() -> None:
    listed = scorecam.layers(networks.LoopOverFrames().eval(), video())
    [default] = [layer for layer in listed if layer.default]
    assert (default.name, default.grid) == ("cnn", (networks.FRAMES, 6, 8))


def test_two_pictures_in_one_tensor_show_which_of_them_it_is() -> None:
    pair = torch.stack([torch.zeros(1, 3, *SIZE), video()[:, FRAME]], 1)
    explanation = scorecam.explain(networks.TwoPictures().eval(), pair, 0)
    assert explanation.heatmap.shape == (2, *SIZE)
    assert energy(explanation.heatmap, (slice(1, 2), *REGION[1:])) > 0.95


def test_frames_as_colours_share_one_map() -> None:
    explanation = scorecam.explain(networks.FramesAsColours().eval(), video(), 0)
    assert explanation.heatmap.shape == SIZE
    assert energy(explanation.heatmap, REGION[1:]) > 0.95


def test_the_error_of_a_video_network_itself_is_shown() -> None:
    class Fails(networks.FoldedFrames):
        def forward(self, videos: Tensor) -> Tensor:
            return super().forward(videos.transpose(1, 2))

    with pytest.raises(scorecam.ModelError, match="to have 3 channels"):
        scorecam.explain(Fails().eval(), video(), 0)


def test_a_video_is_checked_and_explained_by_other_methods() -> None:
    network = networks.FoldedFrames().eval()
    model = scorecam.open_model(network)
    explanation = scorecam.explain(model, video(), 0)
    assert scorecam.check(network, explanation).verdict
    for name, heatmap in heatmaps(model, explanation, parse_methods("gradient")).items():
        assert heatmap.shape == explanation.heatmap.shape, name


@pytest.mark.needs("eval")
def test_gradient_maps_of_frames_in_the_batch_lie_in_the_frame() -> None:
    model = scorecam.open_model(networks.FoldedFrames().eval())
    explanation = scorecam.explain(model, video(), 0)
    for heatmap in heatmaps(model, explanation, parse_methods("gradcam,layercam")).values():
        assert energy(heatmap) > 0.95


@pytest.mark.needs("eval")
def test_gradient_maps_need_a_module_that_runs_once() -> None:
    model = scorecam.open_model(networks.LoopOverFrames().eval())
    explanation = scorecam.explain(model, video(), 0)
    with pytest.raises(scorecam.LayerError, match="runs several times"):
        heatmaps(model, explanation, parse_methods("gradcam"))
