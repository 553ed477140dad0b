"""Images larger than the network's input: the map is that of the whole image, without seams."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import scorecam
from scorecam.model.windows import Windows

SETTINGS = {"variant": "official", "runtime": "eager"}


def smooth(*size: int) -> Tensor:
    """A smooth image without zeros, so that padding would be seen."""
    noise = torch.rand(1, 3, *[max(2, n // 8) for n in size], generator=torch.manual_seed(3))
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    return nn.functional.interpolate(noise, size, mode=mode, align_corners=True) + 0.5


def segmenter(convolution: type[nn.Module] = nn.Conv2d) -> nn.Module:
    """A network with an output per pixel, and a receptive field of 5 pixels."""
    torch.manual_seed(0)
    return nn.Sequential(
        convolution(3, 6, 3, padding=1), nn.ReLU(), convolution(6, 4, 3, padding=1), nn.ReLU()
    ).eval()


def classifier() -> nn.Module:
    """A network with one score per class, and a layer with a cell for each 4 × 4 pixels."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=4, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def region(output: Tensor) -> Tensor:
    """The mean of class 2 over the image."""
    return output[:, 2:3].flatten(2).mean(dim=2)


@pytest.mark.parametrize("blend", ["gaussian", "constant"])
def test_stitched_windows_of_an_image_are_the_image(blend) -> None:
    image = torch.rand(2, 3, 19, 31)
    windows = Windows((8, 12), 0.3, blend)

    stitched = windows.stitched(list(windows.parts(image)), image.shape[2:])

    assert torch.allclose(stitched, image, atol=1e-6)


def test_windows_cover_the_image_and_the_last_one_ends_with_it() -> None:
    starts = Windows((10,), 0.5, "constant").starts((27,))

    assert starts == [(0,), (5,), (10,), (15,), (17,)]


@pytest.mark.parametrize(
    ("convolution", "size", "window"),
    [
        (nn.Conv1d, (90,), 32),
        (nn.Conv2d, (40, 56), (24, 16)),
        (nn.Conv3d, (18, 28, 20), (12, 16, 12)),
    ],
)
def test_seams_are_below_one_percent_of_the_map(convolution, size, window) -> None:
    network, image = segmenter(convolution), smooth(*size)
    whole = scorecam.open_model(network, output=region, head="value")
    sliding = scorecam.sliding_window(whole, window, overlap=0.5)

    expected = scorecam.explain(whole, image, layer="1", **SETTINGS).scaled
    found = scorecam.explain(sliding, image, layer="1", **SETTINGS).scaled

    assert found.shape == expected.shape == size
    assert (found - expected).abs().max() < 0.01


def test_a_classifier_finds_the_planted_square_in_a_large_photo() -> None:
    """It answers 1 where a window holds a bright square."""
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten()
    ).eval()
    with torch.no_grad():
        network[0].weight.fill_(1 / 9)
        network[0].weight[1] *= -1
        network[0].bias.zero_()
    image = torch.zeros(1, 1, 60, 90)
    image[..., 40:46, 70:76] = 1
    model = scorecam.open_model(network, head="value")

    explanation = scorecam.explain(
        scorecam.sliding_window(model, 32, combine="max"), image, target=0, layer="1", **SETTINGS
    )

    heatmap = explanation.heatmap
    assert heatmap.shape == (60, 90)
    assert heatmap[39:47, 69:77].sum() > 0.99 * heatmap.sum()


@pytest.mark.needs("families")
def test_monai_s_inferer_gives_the_same_stitched_output() -> None:
    from monai import inferers

    network, image = segmenter(), smooth(40, 56)
    inferer = inferers.SlidingWindowInferer((24, 16), overlap=0.25, mode="constant")
    model = scorecam.open_model(network, output=region, head="value")

    sliding = scorecam.sliding_window(model, inferer)

    with torch.no_grad():
        expected = region(inferer(image, network))
    assert torch.allclose(sliding.scores(image), expected, atol=1e-6)


def test_layers_have_the_grid_of_the_whole_image() -> None:
    sliding = scorecam.sliding_window(scorecam.open_model(classifier()), 32)

    found = scorecam.layers(sliding, torch.rand(3, 64, 128))

    [default] = [layer for layer in found if layer.default]

    assert default.grid == (16, 32)


def test_a_photo_keeps_its_own_size() -> None:
    from PIL import Image

    model = scorecam.open_model(classifier(), preprocess=scorecam.Preprocess.imagenet(32))
    photo = Image.new("RGB", (100, 70), (200, 30, 90))

    explanation = scorecam.explain(scorecam.sliding_window(model, 32), photo, runtime="eager")

    assert explanation.heatmap.shape == (70, 100)
    assert explanation.on_photo().shape == (70, 100)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((8, 8, 8),), "2 in all"),
        ((0,), "2 in all"),
        (("large",), "2 in all"),
        ((8, 1.5), "overlap"),
    ],
)
def test_wrong_windows_are_refused(arguments, words) -> None:
    model = scorecam.open_model(segmenter(), output=region)
    window, *overlap = arguments

    with pytest.raises(scorecam.SettingError, match=words):
        scorecam.sliding_window(model, window, **({"overlap": overlap[0]} if overlap else {}))


def test_an_image_smaller_than_a_window_is_refused() -> None:
    model = scorecam.sliding_window(scorecam.open_model(segmenter(), output=region), 64)

    with pytest.raises(scorecam.SettingError, match="64"):
        scorecam.explain(model, torch.rand(3, 32, 80))


def test_several_inputs_are_refused() -> None:
    model = scorecam.sliding_window(scorecam.open_model(segmenter(), output=region), 16)

    with pytest.raises(scorecam.SettingError, match="one input"):
        scorecam.explain(model, [torch.rand(1, 3, 32, 32), torch.rand(1, 4)])
