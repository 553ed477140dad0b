"""Call signatures of other packages: their quick starts run with only the import changed."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from networks import Signed, build, images_for
from scorecam.compat import official, pytorch_grad_cam, torchcam
from scorecam.errors import LayerError, ModelError, ScorecamError, TargetError
from scorecam.images.colours import colour
from scorecam.testing import Spy


@contextlib.contextmanager
def refused(*phrases: str, kind: type[ScorecamError] = ScorecamError) -> Iterator[None]:
    """The block raises an error that states what happened, and a likely cause or a remedy."""
    with pytest.raises(kind) as caught:
        yield
    error = caught.value
    assert error.what
    assert error.likely or error.do, f"says what happened, and nothing else: {error}"
    for phrase in phrases:
        assert phrase in str(error)


def small() -> nn.Sequential:
    """Two explainable layers, `first` and `second`, and five classes."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            stem=nn.Conv2d(3, 6, 3, stride=2),
            first=nn.ReLU(),
            conv=nn.Conv2d(6, 9, 3, stride=2),
            second=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classes=nn.Linear(9, 5),
        )
    ).eval()


def hooks_on(network: nn.Module) -> int:
    """The number of hooks on a network and all its modules."""
    return sum(
        len(hooks)
        for module in network.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks)
    )


@pytest.fixture
def network() -> nn.Sequential:
    return small()


@pytest.fixture
def x() -> Tensor:
    """Three images, higher than wide."""
    return torch.randn(3, 3, 31, 23)


# ── quick starts ─────────────────────────────────────────────────────────────────────────────

THEIR_GRAD_CAM = """
from pytorch_grad_cam import ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from pytorch_grad_cam.utils.image import show_cam_on_image
"""
OUR_GRAD_CAM = """
from scorecam.compat.pytorch_grad_cam import ScoreCAM
from scorecam.compat.pytorch_grad_cam import ClassifierOutputTarget
from scorecam.compat.pytorch_grad_cam import show_cam_on_image
"""
GRAD_CAM = """
target_layers = [model.layer4[-1]]
targets = [ClassifierOutputTarget(281)]

with ScoreCAM(model=model, target_layers=target_layers) as cam:
    batch = cam(input_tensor=input_tensor, targets=targets)
    grayscale_cam = batch[0, :]
    visualization = show_cam_on_image(rgb_img, grayscale_cam, use_rgb=True)
    model_outputs = cam.outputs

# one object, kept and used again on other images, for their predictions
cam = ScoreCAM(model=model, target_layers=target_layers)
cam.batch_size = 64
again = cam(input_tensor=input_tensor.flip(-1), targets=None)
"""

THEIR_TORCHCAM = """
from torchcam.methods import ScoreCAM
from torchcam.utils import overlay_mask
"""
OUR_TORCHCAM = """
from scorecam.compat.torchcam import ScoreCAM
from scorecam.compat.torchcam import overlay_mask
"""
TORCHCAM = """
from torchvision.transforms.v2.functional import to_pil_image

with ScoreCAM(model) as cam_extractor:
    out = model(input_tensor)
    activation_map = cam_extractor(out.squeeze(0).argmax().item(), out)
mask = to_pil_image(activation_map[0].squeeze(0), mode="F")
result = overlay_mask(to_pil_image(img), mask, alpha=0.5)

# the older way, for an extractor that is kept, with a layer and a class index of one's own
cam_extractor = ScoreCAM(model, "layer3", batch_size=64)
model(input_tensor)
chosen = cam_extractor(class_idx=100)
cam_extractor.remove_hooks()
"""


@pytest.mark.needs("peers", "torchvision")
class TestQuickStarts:
    @staticmethod
    def run(imports: str, story: str) -> dict[str, Any]:
        """All variables of a script after running it on a model and a photo."""
        from torchvision.models.resnet import BasicBlock, ResNet

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            photo = torch.rand(3, 48, 34)
            named: dict[str, Any] = {
                "model": ResNet(BasicBlock, [1, 1, 1, 1]).eval(),
                "img": (photo * 255).to(torch.uint8),
                "rgb_img": photo.movedim(0, -1).numpy(),
                "input_tensor": (photo[None] - 0.45) / 0.22,
            }
        exec(imports + story, named)
        return named

    def test_the_map_equals_pytorch_grad_cams(self) -> None:
        theirs, ours = self.run(THEIR_GRAD_CAM, GRAD_CAM), self.run(OUR_GRAD_CAM, GRAD_CAM)
        for name in ("batch", "grayscale_cam", "again"):
            assert ours[name].shape == theirs[name].shape
            assert ours[name].dtype == theirs[name].dtype
            np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=1e-5)
        torch.testing.assert_close(ours["model_outputs"], theirs["model_outputs"].detach())
        for picture in (ours["visualization"], theirs["visualization"]):
            assert picture.shape == (48, 34, 3)
            assert picture.dtype == np.uint8

    def test_the_map_equals_torchcams(self) -> None:
        theirs, ours = self.run(THEIR_TORCHCAM, TORCHCAM), self.run(OUR_TORCHCAM, TORCHCAM)
        for name, cells in (("activation_map", (2, 2)), ("chosen", (3, 3))):
            [one], [other] = ours[name], theirs[name]
            assert one.shape == other.shape == (1, *cells)
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
        assert ours["result"].size == theirs["result"].size == (34, 48)
        assert ours["result"].mode == theirs["result"].mode == "RGB"
        assert hooks_on(ours["model"]) == 0


# ── pytorch-grad-cam ─────────────────────────────────────────────────────────────────────────


class TestPytorchGradCam:
    def test_the_model_has_no_hooks_in_or_outside_with(
        self, network: nn.Sequential, x: Tensor
    ) -> None:
        network.train()
        cam = pytorch_grad_cam.ScoreCAM(network, [network.second])
        cam(x, None)
        with pytorch_grad_cam.ScoreCAM(network, [network.second]) as cam:
            cam(x, None)
            assert hooks_on(network) == 0
        assert all(module.training for module in network.modules())

    def test_an_error_inside_with_is_not_swallowed(self, network: nn.Sequential) -> None:
        with (
            pytest.raises(IndexError),
            pytorch_grad_cam.ScoreCAM(network, [network.second]),
        ):
            raise IndexError

    def test_the_batch_size_is_an_attribute(self, network: nn.Sequential, x: Tensor) -> None:
        spy = Spy(network)
        cam = pytorch_grad_cam.ScoreCAM(spy, [network.second])
        assert cam.batch_size == 16
        cam.batch_size = 4
        cam(x[:1], None)
        assert max(len(batch) for batch in spy.seen) == 4

    def test_the_outputs_of_the_images_are_kept(self, network: nn.Sequential, x: Tensor) -> None:
        cam = pytorch_grad_cam.ScoreCAM(network, [network.second])
        cam(x, None)
        torch.testing.assert_close(cam.outputs, network(x).detach())

    def test_it_can_be_called_by_keyword(self, network: nn.Sequential, x: Tensor) -> None:
        cam = pytorch_grad_cam.ScoreCAM(model=network, target_layers=[network.second])
        targets = [pytorch_grad_cam.ClassifierOutputTarget(category=i) for i in range(3)]
        heatmap = cam(input_tensor=x, targets=targets, aug_smooth=False, eigen_smooth=False)
        assert np.array_equal(heatmap, cam(x, targets))
        assert np.array_equal(cam(x), cam(x, None))

    @pytest.mark.parametrize(
        ("how", "phrases"),
        [
            ({"reshape_transform": "tokens"}, ["reshape_transform"]),
            ({"eigen_smooth": True}, ["eigen_smooth"]),
            ({"targets": [pytorch_grad_cam.ClassifierOutputTarget(0)] * 2}, ["2", "3 images"]),
            ({"targets": [pytorch_grad_cam.ClassifierOutputTarget(5)] * 3}, ["no class 5"]),
            ({"targets": [lambda output: output] * 3}, ["one number"]),
            ({"target_layers": []}, ["layer"]),
            ({"target_layers": [nn.ReLU()]}, ["not part of the model"]),
            ({"input_tensor": torch.zeros(0, 3, 31, 23)}, ["(0, 3, 31, 23)"]),
        ],
        ids=[
            "transform",
            "smoothing",
            "two-targets",
            "no-class",
            "five-numbers",
            "no-layer",
            "foreign-layer",
            "no-images",
        ],
    )
    def test_unsupported_arguments_are_refused(
        self, network: nn.Sequential, x: Tensor, how: dict[str, Any], phrases: list[str]
    ) -> None:
        settings = {"target_layers": [network.second], "reshape_transform": None} | how
        call = {"input_tensor": x, "targets": None, "eigen_smooth": False} | how
        with refused(*phrases):
            cam = pytorch_grad_cam.ScoreCAM(
                network, settings["target_layers"], settings["reshape_transform"]
            )
            cam(call["input_tensor"], call["targets"], eigen_smooth=call["eigen_smooth"])


class TestShowCamOnImage:
    """Half photo and half colours of the map, scaled to full brightness."""

    photo = np.random.default_rng(0).random((12, 17, 3), dtype=np.float32)
    mask = np.linspace(0, 1, 12 * 17, dtype=np.float32).reshape(12, 17)

    def test_the_picture_has_the_photos_size(self) -> None:
        result = pytorch_grad_cam.show_cam_on_image(self.photo, self.mask)
        assert result.shape == (12, 17, 3)
        assert result.dtype == np.uint8
        assert result.max() == 255

    def test_red_and_blue_are_swapped_unless_the_photo_is_rgb(self) -> None:
        grey = np.full((12, 17, 3), 0.5, np.float32)
        bgr = pytorch_grad_cam.show_cam_on_image(grey, self.mask)
        rgb = pytorch_grad_cam.show_cam_on_image(grey, self.mask, use_rgb=True)
        assert np.array_equal(bgr, rgb[..., ::-1])
        middle = rgb[6, 8].astype(int)
        assert middle[0] > middle[2] + 20  # half-way, the map is red rather than blue

    @pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
    def test_photo_and_colours_are_mixed_by_weight(self, weight: float) -> None:
        result = pytorch_grad_cam.show_cam_on_image(
            self.photo, self.mask, use_rgb=True, image_weight=weight
        )
        mixed = weight * self.photo + (1 - weight) * colour(self.mask) / 255
        assert np.abs(result - mixed / mixed.max() * 255).max() <= 1

    @pytest.mark.needs("peers")
    def test_with_weight_1_the_picture_equals_theirs(self) -> None:
        from pytorch_grad_cam.utils.image import show_cam_on_image

        theirs = show_cam_on_image(self.photo, self.mask, use_rgb=True, image_weight=1)
        ours = pytorch_grad_cam.show_cam_on_image(
            self.photo, self.mask, use_rgb=True, image_weight=1
        )
        assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1

    def test_a_black_photo_without_colours_is_black(self) -> None:
        black = np.zeros((4, 5, 3), np.float32)
        result = pytorch_grad_cam.show_cam_on_image(black, np.zeros((4, 5)), image_weight=1.0)
        assert not result.any()

    @pytest.mark.parametrize("weight", [-0.1, 1.5])
    def test_an_invalid_weight_is_refused(self, weight: float) -> None:
        with refused(str(weight)):
            pytorch_grad_cam.show_cam_on_image(self.photo, self.mask, image_weight=weight)

    def test_a_photo_in_0_to_255_is_refused(self) -> None:
        with refused("above 1", "255"):
            pytorch_grad_cam.show_cam_on_image(self.photo * 255, self.mask)

    def test_a_map_of_another_size_is_refused(self) -> None:
        with refused("size"):
            pytorch_grad_cam.show_cam_on_image(self.photo, self.mask[:5])

    def test_another_colour_map_is_refused(self) -> None:
        show: Callable[..., Any] = pytorch_grad_cam.show_cam_on_image
        with refused("colormap"):
            show(self.photo, self.mask, use_rgb=True, colormap=2)
        with refused("colormap"):
            show(self.photo, self.mask, True, 2)  # noqa: FBT003  (as there)


# ── torchcam ─────────────────────────────────────────────────────────────────────────────────


class TestTorchcam:
    def test_the_hook_is_removed_at_the_end_of_with(
        self, network: nn.Sequential, x: Tensor
    ) -> None:
        with torchcam.ScoreCAM(network, "second") as cam:
            assert hooks_on(network) == 1
            network(x)
            cam(0)
            assert hooks_on(network) == 1
        assert hooks_on(network) == 0
        assert cam.hook_handles == []

    def test_the_hook_is_removed_if_with_ends_in_an_error(self, network: nn.Sequential) -> None:
        with pytest.raises(ZeroDivisionError), torchcam.ScoreCAM(network, "second"):
            raise ZeroDivisionError
        assert hooks_on(network) == 0

    def test_remove_hooks_removes_the_hook(self, network: nn.Sequential, x: Tensor) -> None:
        cam = torchcam.ScoreCAM(network, "second")
        network(x)
        before = cam(1)
        cam.remove_hooks()
        assert hooks_on(network) == 0
        network(x + 1)
        assert torch.equal(cam(1)[0], before[0])  # it still explains the last input
        cam.remove_hooks()

    def test_the_last_input_is_explained(self, network: nn.Sequential, x: Tensor) -> None:
        with torchcam.ScoreCAM(network, "second") as cam:
            network(x)
            first = cam([0, 1, 2])
            network(x.flip(0))
            assert torch.allclose(cam([2, 1, 0])[0], first[0].flip(0), atol=1e-6)

    def test_later_changes_of_the_input_have_no_effect(
        self, network: nn.Sequential, x: Tensor
    ) -> None:
        with torchcam.ScoreCAM(network, "second") as cam:
            network(x)
            truth = cam(0)
            network(x)
            x.zero_()
            assert torch.equal(cam(0)[0], truth[0])

    def test_hooks_can_be_disabled_and_enabled(self, network: nn.Sequential, x: Tensor) -> None:
        with torchcam.ScoreCAM(network, "second") as cam:
            network(x)
            truth = cam(0)
            cam.disable_hooks()
            for _ in range(2):  # computing a map does not enable them
                network(x + 1)
                assert torch.equal(cam(0)[0], truth[0])
            cam.enable_hooks()
            network(x + 1)
            assert not torch.equal(cam(0)[0], truth[0])

    def test_after_an_error_inputs_are_still_stored(
        self, network: nn.Sequential, x: Tensor
    ) -> None:
        with torchcam.ScoreCAM(network, "second") as cam:
            network(x)
            [truth] = cam([0, 1, 2])
            with refused(kind=TargetError):
                cam(99)
            network(x.flip(0))
            torch.testing.assert_close(cam([2, 1, 0])[0], truth.flip(0), rtol=0, atol=1e-6)

    def test_reset_hooks_discards_the_input(self, network: nn.Sequential, x: Tensor) -> None:
        with torchcam.ScoreCAM(network, "second") as cam:
            network(x)
            cam.reset_hooks()
            with refused("no input", kind=ModelError):
                cam(0)

    def test_layers_are_names_modules_lists_or_the_default(
        self, network: nn.Sequential, x: Tensor
    ) -> None:
        maps = []
        for layer in ("second", network.second, ["second"], [network.second], None):
            with torchcam.ScoreCAM(network, layer) as cam:
                network(x)
                [result] = cam(0)
                maps.append(result)
        assert maps[0].shape == (3, 7, 5)
        assert all(torch.equal(maps[0], result) for result in maps[1:])
        with torchcam.ScoreCAM(network, ["first", network.second]) as cam:
            network(x)
            fine, coarse = cam(0)
        assert fine.shape == (3, 15, 11)
        assert torch.equal(coarse, maps[0])

    def test_a_list_of_classes_has_one_per_image(self, network: nn.Sequential, x: Tensor) -> None:
        with torchcam.ScoreCAM(network, "second") as cam:
            network(x)
            [together] = cam(class_idx=[4, 0, 2], normalized=False)
            for i, target in enumerate((4, 0, 2)):
                assert torch.allclose(cam(target, normalized=False)[0][i], together[i], atol=1e-6)

    def test_passing_the_models_output_has_no_effect(
        self, network: nn.Sequential, x: Tensor
    ) -> None:
        with torchcam.ScoreCAM(network, "second") as cam:
            out = network(x)
            assert torch.equal(cam(0, out)[0], cam(0)[0])
            assert torch.equal(cam(0, scores=out + 1)[0], cam(0)[0])

    def test_the_batch_size_is_an_argument_of_the_constructor(
        self, network: nn.Sequential, x: Tensor
    ) -> None:
        spy = Spy(network)
        with torchcam.ScoreCAM(spy, network.second, batch_size=4) as cam:
            spy(x[:1])
            cam(0)
        assert max(len(batch) for batch in spy.seen) == 4

    def test_it_works_in_inference_mode(self, network: nn.Sequential, x: Tensor) -> None:
        with torchcam.ScoreCAM(network, "second") as cam:
            network(x)
            truth = cam(0)
            with torch.inference_mode():
                network(x)
                assert torch.equal(cam(0)[0], truth[0])

    def test_maps_are_scaled_unless_normalized_is_false(
        self, network: nn.Sequential, x: Tensor
    ) -> None:
        with torchcam.ScoreCAM(network, "second") as cam:
            network(x)
            [scaled], [raw] = cam(0), cam(0, normalized=False)
        low, high = raw.flatten(1).aminmax(dim=1)
        truth = (raw - low[:, None, None]) / (high - low)[:, None, None]
        torch.testing.assert_close(scaled, truth, rtol=0, atol=1e-6)

    def test_a_call_without_a_stored_input_is_refused(self, network: nn.Sequential) -> None:
        cam = torchcam.ScoreCAM(network, "second")
        with refused("no input", "Run the model", kind=ModelError):
            cam(0)

    @pytest.mark.parametrize(
        ("how", "phrases"),
        [
            ({}, ["class_idx", "targets"]),
            ({"class_idx": 0, "targets": torch.amax}, ["class_idx", "targets"]),
            ({"class_idx": [0, 1]}, ["2 targets", "3 images"]),
            ({"targets": [torch.amax] * 2}, ["2 targets", "3 images"]),
            ({"class_idx": 5}, ["no class 5"]),
            ({"class_idx": -1}, ["no class -1"]),
            ({"targets": torch.relu}, ["one number"]),
        ],
        ids=["neither", "both", "two", "two-functions", "no-class", "negative", "five-numbers"],
    )
    def test_an_invalid_target_is_refused(
        self, network: nn.Sequential, x: Tensor, how: dict[str, Any], phrases: list[str]
    ) -> None:
        with torchcam.ScoreCAM(network, "second") as cam:
            network(x)
            with refused(*phrases, kind=TargetError):
                cam(**how)

    def test_a_misspelled_layer_has_a_suggestion(self, network: nn.Sequential, x: Tensor) -> None:
        with (
            refused("Did you mean 'second'", kind=LayerError),
            torchcam.ScoreCAM(network, "secnd") as cam,
        ):
            network(x)
            cam(0)

    def test_reshape_transform_gives_the_maps(self, network: nn.Sequential, x: Tensor) -> None:
        def doubled(maps: Tensor) -> Tensor:
            return 2 * maps

        with torchcam.ScoreCAM(network, "second") as plain:
            network(x)
            [expected] = plain(0, normalized=False)
        with torchcam.ScoreCAM(network, "second", reshape_transform=doubled) as cam:
            network(x)
            [found] = cam(0, normalized=False)
        torch.testing.assert_close(found, 2 * expected)

    def test_reshape_transform_must_be_a_function(self, network: nn.Sequential) -> None:
        construct: Callable[..., Any] = torchcam.ScoreCAM
        with refused("reshape_transform"):
            construct(network, "second", reshape_transform="tokens")

    def test_a_model_can_be_called_by_keyword(self) -> None:
        signed = build(Signed)
        image = images_for(signed)
        with torchcam.ScoreCAM(signed, "conv") as cam:
            assert torch.equal(signed(images=image), signed(image))
            signed(images=image)
            with contextlib.suppress(ScorecamError):  # a map or an error
                cam(0)

    def test_fused_maps_are_the_maximum_at_each_position(self) -> None:
        fine = torch.tensor([[[0.0, 1.0], [0.25, 0.0]]])
        coarse = torch.full((1, 1, 1), 0.5)
        fused = torchcam.ScoreCAM.fuse_cams([fine, coarse])
        assert torch.equal(fused, torch.tensor([[[0.5, 1.0], [0.5, 0.5]]]))
        assert torch.equal(torchcam.ScoreCAM.fuse_cams([coarse]), coarse)
        assert torchcam.ScoreCAM.fuse_cams([fine, coarse], (4, 6)).shape == (1, 4, 6)

    def test_fusing_no_maps_is_refused(self) -> None:
        with refused("no maps"):
            torchcam.ScoreCAM.fuse_cams([])


class TestOverlayMask:
    values = np.linspace(0, 1, 4 * 6, dtype=np.float32).reshape(4, 6)
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))

    def test_the_overlay_has_the_photos_size(self) -> None:
        result = torchcam.overlay_mask(self.photo, Image.fromarray(self.values))
        assert result.size == (60, 40)
        assert result.mode == "RGB"

    def test_alpha_is_the_weight_of_the_photo(self) -> None:
        mask = Image.fromarray(self.values).resize((60, 40), Image.Resampling.NEAREST)
        colours = colour(np.asarray(mask)).astype(float)
        for alpha in (0.0, 0.4, 0.9):
            result = torchcam.overlay_mask(self.photo, mask, alpha=alpha)
            mixed = alpha * np.asarray(self.photo) + (1 - alpha) * colours
            assert np.abs(np.asarray(result) - mixed).max() <= 1

    def test_floats_and_bytes_give_the_same_picture(self) -> None:
        bytes_ = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
        floats = Image.fromarray(bytes_.astype(np.float32) / 255)
        one = torchcam.overlay_mask(self.photo, floats.resize((60, 40), Image.Resampling.BOX))
        other = torchcam.overlay_mask(
            self.photo, Image.fromarray(bytes_).resize((60, 40), Image.Resampling.BOX)
        )
        assert np.array_equal(np.asarray(one), np.asarray(other))

    def test_a_grey_photo_is_accepted(self) -> None:
        result = torchcam.overlay_mask(self.photo.convert("L"), Image.fromarray(self.values))
        assert result.mode == "RGB"

    @pytest.mark.parametrize("alpha", [-0.1, 1.0, 2.0])
    def test_an_invalid_alpha_is_refused(self, alpha: float) -> None:
        with refused(f"{alpha:g}"):
            torchcam.overlay_mask(self.photo, Image.fromarray(self.values), alpha=alpha)

    def test_another_colour_map_is_refused(self) -> None:
        overlay: Callable[..., Any] = torchcam.overlay_mask
        mask = Image.fromarray(self.values)
        with refused("colormap"):
            overlay(self.photo, mask, colormap="jet")
        with refused("colormap"):
            overlay(self.photo, mask, "jet", 0.5)


# ── the authors' code ────────────────────────────────────────────────────────────────────────


class TestOfficial:
    """Its map is compared with a loop in `test_parity`."""

    def test_it_has_the_authors_signature(self, network: nn.Sequential, x: Tensor) -> None:
        described = {"type": "own", "arch": network, "layer_name": "second", "input_size": (31, 23)}
        cam = official.ScoreCAM(described)
        for result in (cam(x[:1]), cam(x[:1], class_idx=2), cam(x[:1], 2, retain_graph=True)):
            assert result.shape == (1, 1, 31, 23)
            assert float(result.min()) == 0
            assert float(result.max()) == 1
        assert hooks_on(network) == 0

    @pytest.mark.parametrize("missing", ["arch", "layer_name"])
    def test_an_incomplete_model_dict_is_refused(
        self, network: nn.Sequential, missing: str
    ) -> None:
        described = {"arch": network, "layer_name": "second"}
        del described[missing]
        with refused(missing):
            official.ScoreCAM(described)

    def test_a_misspelled_layer_is_refused(self, network: nn.Sequential) -> None:
        with refused("no layer 'thrd'", kind=LayerError):
            official.ScoreCAM({"arch": network, "layer_name": "thrd"})

    def test_an_unknown_class_is_refused(self, network: nn.Sequential, x: Tensor) -> None:
        with refused("no class 9", kind=TargetError):
            official.ScoreCAM({"arch": network, "layer_name": "second"})(x[:1], 9)

    def test_more_than_one_image_is_refused(self, network: nn.Sequential, x: Tensor) -> None:
        with refused("One image"):
            official.ScoreCAM({"arch": network, "layer_name": "second"})(x, 0)
