"""Pairs, neighbours, networks that compare two inputs themselves, and embeddings in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import scorecam
from scorecam.errors import PhotoError, SettingError, TargetError
from scorecam.tasks import Neighbour, Similar, nearest
from scorecam.testing import Regions, regions


def network() -> Regions:
    return Regions(torch.eye(3))


def model() -> scorecam.Model:
    preprocess = scorecam.Preprocess(
        size=(5, 8), fit="squash", mean=(0.0,) * 3, std=(1.0,) * 3, interpolation="nearest"
    )
    return scorecam.open_model(network(), preprocess=preprocess)


def energy(explanation: scorecam.Explanation, region: Tensor) -> float:
    heat = explanation.heatmap
    return float(heat[region > 0].sum() / heat.sum())


# ── pairs ────────────────────────────────────────────────────────────────────────────────────────


def test_both_maps_of_a_pair_are_on_what_the_two_images_share() -> None:
    one = regions((9, 4, 0), 5, 8)  # red and green
    other = regions((0, 6, 9), 6, 7).flip(1, 2)  # green and blue, elsewhere, in another size
    first, second = scorecam.explain_pair(network(), one, other, layer="maps")

    assert energy(first, one[1]) == pytest.approx(1.0)
    assert energy(second, other[1]) == pytest.approx(1.0)
    assert (first.heatmap.shape, second.heatmap.shape) == ((5, 8), (6, 7))
    assert first.target.score == pytest.approx(second.target.score)
    assert first.target.score == pytest.approx(4 * 6 / (97 * 117) ** 0.5)


def test_a_swapped_pair_gives_the_same_maps_swapped() -> None:
    one, other = torch.rand(2, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    there = scorecam.explain_pair(embedder(), one, other)
    back = scorecam.explain_pair(embedder(), other, one)
    for first, second in zip(there, reversed(back), strict=True):
        torch.testing.assert_close(first.heatmap, second.heatmap)


def test_an_image_paired_with_itself_has_the_cosine_one() -> None:
    image = regions((9, 4, 3), 5, 8)
    first, second = scorecam.explain_pair(network(), image, image, layer="maps")
    assert first.target.score == pytest.approx(1.0)
    torch.testing.assert_close(first.heatmap, second.heatmap)


def test_a_pair_of_photos_is_named_after_the_other_file(tmp_path: Path) -> None:
    for name, colours in {"anna": (255, 128, 0), "berta": (0, 128, 255)}.items():
        Image.new("RGB", (16, 10), colours).save(tmp_path / f"{name}.png")
    one, other = scorecam.explain_pair(
        model(), tmp_path / "anna.png", tmp_path / "berta.png", layer="maps", budget=2
    )
    assert (one.target.name, other.target.name) == ("berta", "anna")
    assert one.on_photo().shape == (10, 16)


def test_a_pair_with_an_image_that_has_no_embedding_is_refused() -> None:
    with pytest.raises(TargetError, match="embedding of the reference 'reference' has the length"):
        scorecam.explain_pair(network(), regions((9, 4, 3), 5, 8), torch.zeros(3, 5, 8))


# ── neighbours ───────────────────────────────────────────────────────────────────────────────────


def test_the_nearest_of_a_folder_are_explained_as_references(tmp_path: Path) -> None:
    for name, colour in {"red": "red", "blue": "blue", "pink": (255, 0, 128)}.items():
        Image.new("RGB", (8, 5), colour).save(tmp_path / f"{name}.png")
    (tmp_path / "notes.txt").write_text("no photo")
    image = regions((2, 0, 9), 5, 8)
    found = nearest(model(), image, tmp_path, k=2)

    assert [each.name for each in found] == ["blue", "pink"]
    assert found[0].cosine == pytest.approx(9 / 85**0.5)
    references = {each.name: each.reference for each in found}
    explanation = scorecam.explain(model(), image, layer="maps", task=Similar(reference=references))
    assert explanation.target.name == "blue"
    assert explanation.target.score == pytest.approx(found[0].cosine)
    assert energy(explanation, image[2]) == pytest.approx(1.0)


def test_a_gallery_may_hold_embeddings_and_tensors() -> None:
    gallery: dict[str, Any] = {"axis": torch.eye(3)[0], "image": regions((1, 2, 0), 5, 8)}
    found = nearest(model(), regions((9, 1, 0), 5, 8), gallery)
    assert [each.name for each in found] == ["axis", "image"]
    assert all(isinstance(each, Neighbour) for each in found)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"model": 3}, SettingError, "open_model"),
        ({"k": 0}, SettingError, "k=0"),
        ({"gallery": "nowhere"}, SettingError, "cannot be read"),
        ({"gallery": "."}, SettingError, "has 0 photos"),
        ({"gallery": 3}, SettingError, "The gallery is 3"),
        ({"gallery": {}}, SettingError, "empty"),
        ({"gallery": [torch.ones(4)]}, TargetError, "has 4"),
        ({"image": "nowhere.png"}, PhotoError, "nowhere.png"),
        ({"image": torch.zeros(3, 5, 8)}, TargetError, "length 0"),
    ],
)
def test_an_unusable_gallery_or_image_is_refused_in_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"model": model(), "image": regions((9, 1, 0), 5, 8), "gallery": [torch.ones(3)]}
    with pytest.raises(error, match=words):
        nearest(**(given | changed))


# ── networks that compare two inputs themselves ──────────────────────────────────────────────────


class Siamese(nn.Module):
    """The distance between the mean colours of two images."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.maps.weight.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        means = [self.maps(each).mean((2, 3)) for each in (one, other)]
        return (means[0] - means[1]).norm(dim=1)


@pytest.mark.parametrize(("masked", "call"), [("one", "maps#1"), ("other", "maps#2")])
def test_a_network_of_two_images_is_explained_once_for_each_input(masked: str, call: str) -> None:
    inputs = {"one": regions((9, 4, 0), 5, 8)[None], "other": regions((0, 6, 9), 5, 8)[None]}
    opened = scorecam.open_model(Siamese(), masked_input=masked)
    found = scorecam.explain(opened, inputs, lambda distance: -distance, layer=call)

    own, green = inputs[masked][0], inputs[masked][0, 1]
    assert found.variant.name == "centred"
    assert energy(found, green) == pytest.approx(1.0)
    assert found.heatmap.shape == own.shape[1:]


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def embedder() -> nn.Sequential:
    torch.manual_seed(0)
    features = nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*features).eval()


@pytest.mark.needs("onnx")
@pytest.mark.parametrize("classes", [0, 4])
def test_an_onnx_file_of_an_embedding_network_has_the_maps_of_the_network(
    tmp_path: Path, classes: int
) -> None:
    from onnx_networks import exported

    network = embedder()
    one, other = torch.rand(2, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    whole = nn.Sequential(*network, nn.Linear(6, classes)).eval() if classes else network
    file = exported(whole, torch.stack([one, other]), tmp_path / "net.onnx")
    # A classifier's embedding is a tensor inside the file.
    opened = scorecam.open_model(file, output="/3/Flatten" if classes else None)
    for ours, torchs in zip(
        scorecam.explain_pair(opened, one, other),
        scorecam.explain_pair(network, one, other),
        strict=True,
    ):
        torch.testing.assert_close(ours.bank.scores, torchs.bank.scores, rtol=0, atol=1e-5)
        torch.testing.assert_close(ours.scaled, torchs.scaled, rtol=0, atol=1e-4)
