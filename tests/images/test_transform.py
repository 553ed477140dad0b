"""A user's own transform: the tensor that the model gets, and where it is in the photo."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

import scorecam
from scorecam.errors import PhotoError, SettingError
from scorecam.images.preprocess import Preprocess
from scorecam.images.transform import Transform

SIZES = [(500, 375), (375, 500), (301, 300), (1200, 300), (100, 70)]
"""Of photos, (width, height)."""


def tensor(picture: Image.Image) -> Tensor:
    """As torchvision's ToTensor: c h w in [0, 1]."""
    values = np.array(picture, np.float32).reshape(picture.height, picture.width, -1)
    return torch.from_numpy(values / 255).permute(2, 0, 1)


def photo_of(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def squashed(photo: Image.Image) -> Tensor:
    return tensor(photo.resize((60, 40), Image.Resampling.BILINEAR))


def standardised(photo: Image.Image) -> Tensor:
    values = squashed(photo)
    return (values - values.mean()) / (values.std() + 1e-6)


def letterboxed(colour: int) -> Callable[[Image.Image], Tensor]:
    return lambda photo: tensor(ImageOps.pad(photo, (120, 120), color=(colour,) * 3)) * 2 - 1


def placed(function: Callable[[Image.Image], Any], size: tuple[int, int]) -> Any:
    placement = Transform(function).placement(size)
    return None if placement is None else placement.box


# ── the geometry ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fit", ["resize_crop", "crop_resize", "squash"])
@pytest.mark.parametrize("photo_size", SIZES)
def test_the_crop_of_a_preprocess_is_found_from_its_pixels(
    fit: str, photo_size: tuple[int, int]
) -> None:
    own = Preprocess(size=(96, 120), fit=fit, mean=(0.5,) * 3, std=(0.2,) * 3)  # type: ignore[arg-type]
    expected = own.placement(photo_size).box
    pixel = (expected[2] - expected[0]) / 120

    found = placed(own, photo_size)

    assert found == pytest.approx(expected, abs=0.1 * pixel)


@pytest.mark.parametrize("colour", [0, 114, 127, 255])
def test_a_letterbox_reaches_beyond_the_photo(colour: int) -> None:
    assert placed(letterboxed(colour), (400, 300)) == pytest.approx((0, -50, 400, 350), abs=0.4)
    assert placed(letterboxed(colour), (300, 400)) == pytest.approx((-50, 0, 350, 400), abs=0.4)


@pytest.mark.parametrize("mode", ["reflect", "edge", "symmetric"])
def test_padding_with_the_photos_own_pixels_is_found(mode: str) -> None:
    def padded(photo: Image.Image) -> Tensor:
        values = np.array(photo.resize((100, 100)))
        return tensor(Image.fromarray(np.pad(values, ((10, 10), (20, 20), (0, 0)), mode)))  # type: ignore[call-overload]

    assert placed(padded, (400, 300)) == pytest.approx((-80, -30, 480, 330), abs=0.8)


def test_mirrored_axes_are_found() -> None:
    assert placed(lambda photo: squashed(photo).flip(2), (400, 300)) == (400, 0, 0, 300)
    assert placed(lambda photo: squashed(photo).flip(1), (400, 300)) == (0, 300, 400, 0)
    assert placed(lambda photo: squashed(photo.rotate(180)), (400, 300)) == (400, 300, 0, 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: (x - 0.4) / 0.2,
        lambda x: x[[2, 1, 0]] * 255 - 110,
        lambda x: 1 - x,
        lambda x: x**2.2,
        lambda x: x.mean(dim=0, keepdim=True),
        lambda x: torch.cat([x, x[:1]]),
    ],
    ids=["normalised", "bgr", "inverted", "gamma", "grey", "four channels"],
)
def test_any_fixed_normalisation_is_undone(change: Callable[[Tensor], Tensor]) -> None:
    assert placed(lambda photo: change(squashed(photo)), (400, 300)) == (0, 0, 400, 300)


@pytest.mark.parametrize(
    "function",
    [
        lambda photo: squashed(photo.rotate(20)),
        lambda photo: squashed(photo).transpose(1, 2),
        lambda photo: squashed(photo) * 0,
        lambda photo: squashed(photo).mean((1, 2), keepdim=True).expand(3, 8, 8),
        lambda photo: nn.functional.pad(squashed(photo)[:, 9:-9, 9:-9], (9, 9, 9, 9)),
        standardised,
    ],
    ids=["rotated", "transposed", "constant", "colour only", "frame", "scaled by its own mean"],
)
def test_what_does_not_place_the_input_gives_no_placement(
    function: Callable[[Image.Image], Tensor],
) -> None:
    assert placed(function, (400, 300)) is None


def test_boxes_masks_and_maps_follow_a_mirrored_letterbox() -> None:
    """400 x 200 becomes 100 x 50 with 25 rows of padding above and below, mirrored."""
    how = Transform(lambda photo: tensor(ImageOps.mirror(ImageOps.pad(photo, (100, 100)))))
    size = (400, 200)
    box = torch.tensor([[40.0, 20.0, 120.0, 100.0]])
    mask = np.zeros((200, 400), bool)
    mask[20:100, 40:120] = True
    expected = torch.zeros(100, 100, dtype=torch.bool)
    expected[30:50, 70:90] = True

    moved = how.boxes_to_input(box, size)

    torch.testing.assert_close(moved, torch.tensor([[70.0, 30.0, 90.0, 50.0]]), atol=0.1, rtol=0)
    assert torch.equal(how.mask_to_input(mask), expected)
    averaged = how.mask_to_input(mask.astype(np.float32))
    assert ((averaged > 0.5) == expected).all()
    on_photo = how.to_photo(expected.float(), size)
    assert on_photo.shape == (200, 400)
    assert ((on_photo > 0.5).numpy() == mask).mean() > 0.999
    assert how.crop_box(size) == pytest.approx((0, 0, 400, 200), abs=0.1)


@pytest.mark.needs("torchvision")
@pytest.mark.parametrize("photo_size", SIZES)
def test_a_compose_of_torchvision_equals_our_imagenet(photo_size: tuple[int, int]) -> None:
    from torchvision import transforms

    own, photo = Preprocess.imagenet(), photo_of(*photo_size)
    normalise = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), normalise]
    theirs = Transform(transforms.Compose(steps))
    pixel = (own.crop_box(photo_size)[2] - own.crop_box(photo_size)[0]) / 224

    torch.testing.assert_close(theirs(photo), own(photo))
    assert theirs.crop_box(photo_size) == pytest.approx(own.crop_box(photo_size), abs=0.1 * pixel)
    assert theirs.mean == pytest.approx(own.mean, abs=1e-5)
    assert theirs.std == pytest.approx(own.std, abs=1e-5)
    assert (theirs.size, theirs.name.startswith("Compose(")) == (own.size, True)
    difference = np.asarray(theirs.view(photo), int) - np.asarray(own.view(photo), int)
    assert abs(difference).max() <= 1


# ── the tensor ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x[None],
        lambda x: x.numpy(),
        lambda x: {"pixel_values": [x.numpy()]},
        lambda x: {"pixel_values": x[None]},
        lambda x: x.double().requires_grad_(),
    ],
    ids=["batch of one", "array", "processor", "processor's tensors", "float64 with gradient"],
)
def test_other_forms_of_the_tensor_are_accepted(wrap: Callable[[Tensor], Any]) -> None:
    photo = photo_of(80, 60)

    image = Transform(lambda picture: wrap(squashed(picture)))(photo)

    assert (image.dtype, image.requires_grad) == (torch.float32, False)
    torch.testing.assert_close(image, squashed(photo))


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda photo: photo, "ToTensor"),
        (lambda photo: photo.load() and None, "returns nothing"),
        (lambda photo: squashed(photo)[0], "(40, 60)"),
        (lambda photo: squashed(photo) / 0, "NaN or infinity"),
        (lambda photo: squashed(photo).to_sparse(), "not a tensor"),
        (lambda photo: photo.no_such_method(), "AttributeError"),
        (dict, "TypeError"),
    ],
)
def test_a_transform_without_a_tensor_is_refused(function: Any, says: str) -> None:
    with pytest.raises(SettingError) as raised:
        scorecam.open_model(nn.Conv2d(3, 2, 3), preprocess=function)
    assert says in str(raised.value)


def test_a_random_transform_is_refused_and_draws_nothing() -> None:
    def mirrored_at_random(photo: Image.Image) -> Tensor:
        return squashed(photo).flip(2) if random.random() < 0.5 else squashed(photo)

    random.seed(1)
    expected = random.random()
    random.seed(1)

    with pytest.raises(SettingError, match="different tensors for one photo"):
        Transform(mirrored_at_random)
    assert random.random() == expected


def test_a_transform_that_is_random_for_some_photos_is_refused_there() -> None:
    def noisy_if_small(photo: Image.Image) -> Tensor:
        return squashed(photo) + (torch.rand(1) if photo.width < 100 else 0)

    how = Transform(noisy_if_small)

    assert how(photo_of(200, 100)).shape == (3, 40, 60)
    with pytest.raises(SettingError, match="different tensors"):
        how(photo_of(50, 100))


def test_the_transform_cannot_change_the_users_photo() -> None:
    photo = photo_of(80, 60)
    before = np.array(photo)

    def paints(picture: Image.Image) -> Tensor:
        picture.paste((0, 0, 0), (0, 0, 40, 40))
        return squashed(picture)

    Transform(paints)(photo)
    np.testing.assert_array_equal(np.array(photo), before)


# ── records and results ──────────────────────────────────────────────────────────────────────


def test_the_record_has_a_name_without_addresses() -> None:
    class Sharpened:
        def __call__(self, photo: Image.Image) -> Tensor:
            return squashed(photo)

    for function in (squashed, Sharpened()):
        record = Transform(function).to_dict()
        assert "0x" not in str(record["transform"])
        assert ("squashed" in str(record)) or ("Sharpened" in str(record))
        assert json.loads(json.dumps(record)) == Transform(function).to_dict()


def test_the_record_differs_for_transforms_of_one_name() -> None:
    def by(factor: float) -> Callable[[Image.Image], Tensor]:
        return lambda photo: squashed(photo) * factor

    one, other = Transform(by(1)).to_dict(), Transform(by(2)).to_dict()
    assert one["transform"] == other["transform"]
    assert one != other


def explained(function: Callable[[Image.Image], Tensor]) -> scorecam.Explanation:
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    )
    model = scorecam.open_model(network, preprocess=function)
    return scorecam.explain(model, photo_of(90, 60), 0, layer="1", runtime="eager")


def test_the_map_is_on_the_photo_if_the_geometry_is_found() -> None:
    explanation = explained(lambda photo: squashed(photo).flip(2))

    assert explanation.on_photo().shape == (60, 90)
    expected = nn.functional.interpolate(
        explanation.heatmap.flip(1)[None, None], (60, 90), mode="bilinear"
    )
    torch.testing.assert_close(explanation.on_photo(), expected[0, 0])
    assert not [text for text in explanation.provenance.remarks if "transform" in text]


def test_the_map_is_on_the_input_if_the_geometry_is_not_found() -> None:
    explanation = explained(lambda photo: squashed(photo.rotate(30)))

    [remark] = [text for text in explanation.provenance.remarks if "could not be found" in text]
    assert "test_transform" in remark
    assert explanation.heatmap.shape == (40, 60)
    picture = explanation.bank.picture()
    assert picture is not None
    assert picture.size == (60, 40)
    assert explanation.overlay().width >= 60
    with pytest.raises(PhotoError, match="place in the photo is unknown"):
        explanation.on_photo()
