"""Planted networks: in every layout, the default layer's maps and the heatmap show the region."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor, nn

import planted
import scorecam
from scorecam.methods.names import heatmaps, parse_methods

SIZE = (24, 48)
CELLS = (24 // 4) * (48 // 6)
REGION = (slice(16, 24), slice(6, 18))
"""Not on a diagonal of the image, and a whole number of patches."""


def photo(colours: int = 3) -> Tensor:
    """Zero outside the region, and textured inside."""
    image = torch.zeros(1, colours, *SIZE)
    generator = torch.Generator().manual_seed(1)
    inside = 1 + torch.rand(1, colours, 8, 12, generator=generator)
    image[:, :, REGION[0], REGION[1]] = inside
    return image


def energy(heatmap: Tensor, region: tuple[slice, ...]) -> float:
    """The share of the map in the region."""
    return float(heatmap[region].sum() / heatmap.sum())


def patches(network: nn.Module, image: Tensor) -> Tensor:
    """The maps that every network here starts with."""
    stem = next(m for m in network.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d))
    with torch.no_grad():
        return stem(image)[0]


NETWORKS: dict[str, nn.Module] = {
    "cnn": planted.Cnn(),
    **{f"{n} prefix tokens": planted.Tokens(n) for n in (0, 1, 2, 5)},
    "last token": planted.TokensAfter(),
    "linear patches": planted.LinearPatches(),
    "windows": planted.Windows(),
    "mixer": planted.Mixer(CELLS),
    "side exits": planted.SideExits(),
    "one ReLU": planted.OneRelu(),
    "tuple": planted.InATuple(),
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_the_map_of_a_photo_lies_where_the_region_is(network: Any) -> None:
    explanation = scorecam.explain(network.eval(), photo(), 0, runtime="eager")
    assert explanation.layer == network.layer
    assert explanation.bank.activations.shape == (planted.CHANNELS, 6, 8)
    assert energy(explanation.heatmap, (slice(12, 24), slice(0, 24))) > 0.95
    peak = divmod(int(explanation.heatmap.argmax()), SIZE[1])
    assert 16 <= peak[0] < 24
    assert 6 <= peak[1] < 18
    assert explanation.provenance.remarks == ()


@pytest.mark.parametrize("name", ["cnn", "windows", "side exits", "one ReLU", "tuple"])
def test_the_activations_are_the_maps_in_their_own_order(name: str) -> None:
    network: Any = NETWORKS[name]
    bank = scorecam.ScoreCAM(network.eval()).bank(photo())
    expected = patches(network, photo())
    scale = 1.1 if name == "windows" else 1
    torch.testing.assert_close(bank.activations, scale * expected)


def test_the_tokens_of_a_batch_are_those_of_each_image() -> None:
    network = planted.Tokens(2).eval()
    images = torch.cat([photo(), photo().flip(3), photo().flip(2)])
    maps = scorecam.ScoreCAM(network)(images, 0)
    for image, one in zip(images, maps, strict=True):
        torch.testing.assert_close(one, scorecam.ScoreCAM(network)(image[None], 0)[0])
    assert energy(maps[1], (slice(12, 24), slice(24, 48))) > 0.95
    assert energy(maps[2], (slice(0, 12), slice(0, 24))) > 0.95


# ── inputs in another form ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("batch", [True, False])
def test_a_network_that_takes_channels_last_is_explained(batch: bool) -> None:
    images = photo().permute(0, 2, 3, 1)
    image = images if batch else images[0]
    explanation = scorecam.explain(planted.ChannelsLastInput().eval(), image, 0)
    expected = scorecam.explain(planted.Cnn().eval(), photo(), 0)
    torch.testing.assert_close(explanation.heatmap, expected.heatmap)


def test_a_batch_with_channels_last_is_explained() -> None:
    images = torch.cat([photo(), photo().flip(3)]).permute(0, 2, 3, 1)
    maps = scorecam.ScoreCAM(planted.ChannelsLastInput().eval())(images, 0)
    assert maps.shape == (2, *SIZE)
    assert energy(maps[0], REGION) > 0.6
    assert energy(maps[1], (slice(12, 24), slice(24, 48))) > 0.95


FORMS: dict[str, tuple[nn.Module, Tensor]] = {
    "b h w c": (planted.ChannelsLastInput().eval(), photo().permute(0, 2, 3, 1)),
    "b t": (planted.PlainSignal().eval(), torch.arange(400.0)[None] % 50),
}


@pytest.mark.parametrize(("network", "x"), FORMS.values(), ids=FORMS)
def test_check_takes_the_form_of_the_explanation(network: nn.Module, x: Tensor) -> None:
    explanation = scorecam.explain(network, x, 0)
    for model in (network, scorecam.open_model(network)):
        assert scorecam.check(model, explanation).evidence


@pytest.mark.needs("eval")
@pytest.mark.parametrize(("network", "x"), FORMS.values(), ids=FORMS)
def test_other_methods_take_the_form_of_the_explanation(network: nn.Module, x: Tensor) -> None:
    explanation = scorecam.explain(network, x, 0)
    methods = parse_methods("scorecam,gradient,gradcam,occlusion")
    model = scorecam.open_model(network)
    for name, heatmap in heatmaps(model, explanation, methods).items():
        assert heatmap.shape == explanation.heatmap.shape, name


@pytest.mark.needs("eval")
def test_gradient_maps_of_tokens_lie_where_the_region_is() -> None:
    model = scorecam.open_model(planted.Tokens(0).eval())
    explanation = scorecam.explain(model, photo(), 0)
    [heatmap] = heatmaps(model, explanation, parse_methods("gradcam")).values()
    assert energy(heatmap, (slice(12, 24), slice(0, 24))) > 0.95


@pytest.mark.needs("eval")
def test_runs_over_photos_serve_networks_with_channels_last(tmp_path: Path) -> None:
    (tmp_path / "photos/a").mkdir(parents=True)
    pixels = np.zeros((48, 48, 3), np.uint8)
    pixels[30:40, 8:20] = 200
    PIL.Image.fromarray(pixels).save(tmp_path / "photos/a/0.png")
    network = planted.ChannelsLastInput().eval()
    model = scorecam.open_model(network, preprocess=scorecam.Preprocess.lite(48))
    assert scorecam.explain(model, tmp_path / "photos/a/0.png", 0).heatmap.shape == (48, 48)
    assert [layer.name for layer in scorecam.layers(model) if layer.default] == ["act"]
    names = "scorecam,gradcam"
    summary = scorecam.evaluate(
        model, tmp_path / "photos", names, "quick", out=tmp_path / "run", target="predicted"
    )
    assert summary.failed == ()
    sane = scorecam.sanity(model, tmp_path / "photos", names, out=tmp_path / "sane")
    assert set(sane.verdicts) == {"scorecam", "gradcam"}


def signal(colours: int) -> Tensor:
    x = torch.zeros(1, colours, 400)
    x[..., 320:344] = torch.linspace(1, 2, 24)
    return x


@pytest.mark.parametrize("shape", [(1, 400), (400,)])
def test_a_signal_without_colours_is_explained(shape: tuple[int, ...]) -> None:
    x = signal(1).reshape(shape)
    explanation = scorecam.explain(planted.PlainSignal().eval(), x, 0)
    assert explanation.heatmap.shape == (400,)
    assert energy(explanation.heatmap, (slice(308, 356),)) > 0.95


def test_the_tokens_of_a_signal_are_positions_not_channels() -> None:
    explanation = scorecam.explain(planted.SignalTokens().eval(), signal(2), 0)
    assert explanation.layer == "mix"
    assert explanation.bank.activations.shape == (planted.CHANNELS, 50)
    assert energy(explanation.heatmap, (slice(308, 356),)) > 0.95


def test_a_volume_with_uneven_strides_keeps_its_axes() -> None:
    volume = torch.zeros(1, 1, 4, 12, 16)
    volume[:, :, 3, 2:6, 10:14] = 1 + torch.rand(4, 4)
    explanation = scorecam.explain(planted.Anisotropic().eval(), volume, 0)
    assert explanation.bank.activations.shape == (planted.CHANNELS, 4, 6, 8)
    assert explanation.heatmap.shape == (4, 12, 16)
    assert energy(explanation.heatmap, (slice(2, 4), slice(0, 8), slice(8, 16))) > 0.95


# ── several inputs ───────────────────────────────────────────────────────────────────────────────


def test_of_two_photos_through_one_trunk_the_masked_one_is_explained() -> None:
    network = planted.Siamese().eval()
    photos = photo(), photo().flip(3)
    expected = [network.trunk(x)[0] for x in photos]
    for masked in (0, 1):
        model = scorecam.open_model(network, masked_input=masked)
        bank = scorecam.ScoreCAM(model).bank(photos)
        assert bank.layer == f"trunk#{masked + 1}"
        assert torch.equal(bank.activations, expected[masked])
        named = scorecam.ScoreCAM(model, "trunk").bank(photos)
        assert named.layer == bank.layer
        assert torch.equal(named.activations, bank.activations)


def test_the_call_on_another_photo_is_refused() -> None:
    model = scorecam.open_model(planted.Siamese().eval(), masked_input=0)
    with pytest.raises(scorecam.LayerError, match="does not depend on the masked image"):
        scorecam.ScoreCAM(model, "trunk#2").bank((photo(), photo()))
    with pytest.raises(scorecam.LayerError, match="did not run"):
        scorecam.ScoreCAM(model, "trunk#3").bank((photo(), photo()))


def test_the_stream_of_the_masked_photo_is_explained() -> None:
    model = scorecam.open_model(planted.TwoStreams().eval(), masked_input=0)
    explanation = scorecam.explain(model, (photo(), torch.rand(1, 1, *SIZE)), 0)
    assert explanation.layer == "act"
    assert energy(explanation.heatmap, (slice(12, 24), slice(0, 24))) > 0.95


# ── what is not explained without a word ─────────────────────────────────────────────────────────


def test_layers_off_the_path_are_listed_as_such() -> None:
    listed = {layer.name: layer for layer in scorecam.layers(planted.SideExits().eval(), photo())}
    assert not listed["exit"].on_path
    assert not listed["decoder"].on_path
    assert "not on the path" in listed["decoder"].why
    assert listed["gate"].on_path
    assert "lead around" in listed["gate"].why


def test_a_named_layer_off_the_path_gets_a_remark() -> None:
    explanation = scorecam.explain(planted.SideExits().eval(), photo(), 0, layer="exit")
    assert any("do not depend on the layer 'exit'" in r for r in explanation.provenance.remarks)


class Flips(planted.Cnn):
    """Test-time augmentation: the scores of the photo and of its mirror image."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + super().forward(images.flip(3))


def test_with_flips_the_unflipped_call_is_explained_and_a_remark_says_so() -> None:
    explanation = scorecam.explain(Flips().eval(), photo(), 0)
    assert explanation.layer == "act#1"
    assert energy(explanation.heatmap, (slice(12, 24), slice(0, 24))) > 0.95
    assert any("No block lies on every path" in r for r in explanation.provenance.remarks)
    flipped = scorecam.explain(Flips().eval(), photo(), 0, layer="act#2")
    assert energy(flipped.heatmap, (slice(12, 24), slice(0, 24))) > 0.95


class Cropped(planted.Cnn):
    """Looks at the left half of the photo only."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images[..., : SIZE[1] // 2])


def test_maps_of_a_part_of_the_photo_are_never_stretched_over_all_of_it() -> None:
    with pytest.raises(scorecam.LayerError):
        scorecam.explain(Cropped().eval(), photo(), 0)
    with pytest.raises(scorecam.LayerError, match="no grid"):
        scorecam.explain(Cropped().eval(), photo(), 0, layer="act")


def test_the_user_may_give_the_layout() -> None:
    model = scorecam.open_model(Cropped().eval(), layout="channels first")
    explanation = scorecam.explain(model, photo(), 0, layer="act")
    assert explanation.bank.activations.shape == (planted.CHANNELS, 6, 4)


def test_the_user_may_reshape_the_layer_as_with_pytorch_grad_cam() -> None:
    def reshape(tokens: Tensor) -> Tensor:
        return tokens[:, 1:].mT.reshape(len(tokens), -1, 6, 8)

    network = planted.Tokens(1).eval()
    model = scorecam.open_model(network, reshape=reshape)
    found = scorecam.ScoreCAM(model, "blocks.1").bank(photo())
    expected = scorecam.ScoreCAM(network, "blocks.1").bank(photo())
    assert torch.equal(found.activations, expected.activations)
    assert torch.equal(found.scores, expected.scores)


def test_a_reshape_that_fails_is_an_error() -> None:
    model = scorecam.open_model(planted.Tokens(1).eval(), reshape=lambda tokens: tokens[:, :, :, 9])
    with pytest.raises(scorecam.LayerError, match="reshape= failed"):
        scorecam.ScoreCAM(model, "blocks.1").bank(photo())


class Shuffled(planted.Cnn):
    """Sorts its rows by their content: where a position went depends on the image."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.act(self.stem(images))
        order = maps.sum((1, 3)).argsort(1)
        taken = maps.gather(2, order[:, None, :, None].expand_as(maps))
        return self.head(self.last(taken).mean((2, 3)))

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.ReLU()


def test_positions_that_cannot_be_followed_are_never_guessed() -> None:
    network = Shuffled().eval()
    explanation = scorecam.explain(network, photo(), 0)
    assert explanation.layer == "act"
    with pytest.raises(scorecam.LayerError, match="could not be followed"):
        scorecam.explain(network, photo(), 0, layer="last")
