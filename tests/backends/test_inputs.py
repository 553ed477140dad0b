"""Networks with several inputs: one is masked, the others are repeated for each mask, or shared.

`Gained` multiplies the scores of `Regions` by a number that belongs to the image, so that region k
adds gain · W_tk·|R_k| to class t, and `increase` shows exactly that.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
from scorecam.errors import LayerError, ModelError, ScorecamError, SettingError, TargetError
from scorecam.testing import Regions, regions

WEIGHTS = torch.tensor([[1.0, 2.0, 3.0], [0.5, 0.0, 5.0]])
IMAGES = torch.stack([regions(sizes, 3, 5) for sizes in ((4, 2, 1), (1, 2, 3), (2, 2, 2))])
GAINS = torch.tensor([1.0, 3.0, 0.5])


class Gained(nn.Module):
    """Scores · gain + shift. Remembers everything it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.regions = Regions(WEIGHTS)
        self.seen: list[dict[str, Any]] = []

    def forward(self, images: Tensor, gain: Tensor, shift: Any = None) -> Tensor:
        self.seen.append({"images": images.clone(), "gain": gain.clone(), "shift": shift})
        scores = self.regions(images) * gain.reshape(-1, 1)
        return scores if shift is None else scores + shift


class GainFirst(Gained):
    """The same with the inputs in reverse order."""

    def forward(self, gain: Tensor, images: Tensor) -> Tensor:
        return super().forward(images, gain)


class OneDict(nn.Module):
    """Takes one dictionary, and returns another."""

    def __init__(self) -> None:
        super().__init__()
        self.gained = Gained()
        self.keys: set[str] = set()

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        self.keys = set(batch)
        return {"logits": self.gained(batch["pixels"], batch["gain"]), "pixels": batch["pixels"]}


class Transformer(nn.Module):
    """Takes names, most of them optional, and returns a record, as Hugging Face's models do."""

    def __init__(self) -> None:
        super().__init__()
        self.regions = Regions(WEIGHTS)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Mapping[str, Any]:
        assert pixel_values is not None
        assert labels is None
        return UserDict({"logits": self.regions(pixel_values), "hidden_states": (pixel_values,)})


def shown(i: int, target: int, gain: float) -> Tensor:
    """The `increase` map of image i."""
    sizes = IMAGES[i].sum((1, 2))
    return (IMAGES[i] * (gain * WEIGHTS[target] * sizes)[:, None, None]).sum(0)


def close(actual: Tensor, truth: Tensor) -> None:
    torch.testing.assert_close(actual, truth, rtol=0, atol=1e-5)


def maps_of(network: nn.Module, inputs: Any, target: Any, **options: Any) -> Tensor:
    model = scorecam.open_model(network, head="logits", **options)
    [layer] = [name for name, _ in network.named_modules() if name.endswith("maps")]
    return scorecam.ScoreCAM(model, layer, "increase")(inputs, target)


# ── ways to pass them ────────────────────────────────────────────────────────────────────────

WAYS: dict[str, tuple[type[nn.Module], Any]] = {
    "in order": (Gained, lambda x, gain: (x, gain)),
    "in order, as a list": (Gained, lambda x, gain: [x, gain]),
    "in order, the images last": (GainFirst, lambda x, gain: (gain, x)),
    "by name": (Gained, lambda x, gain: {"images": x, "gain": gain}),
    "by name, in any order": (Gained, lambda x, gain: {"gain": gain, "images": x}),
    "by name, in a mapping that is no dict": (
        Gained,
        lambda x, gain: UserDict({"images": x, "gain": gain}),
    ),
    "as one dict, and a dict out": (OneDict, lambda x, gain: {"pixels": x, "gain": gain}),
}
each_way = pytest.mark.parametrize(("kind", "pack"), WAYS.values(), ids=WAYS)


@each_way
class TestEveryWay:
    def test_one_image(self, kind: type[nn.Module], pack: Any) -> None:
        for i, gain in enumerate(GAINS):
            [result] = maps_of(kind(), pack(IMAGES[i : i + 1], gain[None]), 0)
            close(result, shown(i, 0, float(gain)))

    def test_a_batch_in_which_each_image_keeps_its_own(
        self, kind: type[nn.Module], pack: Any
    ) -> None:
        heatmap = maps_of(kind(), pack(IMAGES, GAINS), 1)
        assert heatmap.shape == (3, 3, 5)
        for i, gain in enumerate(GAINS):
            close(heatmap[i], shown(i, 1, float(gain)))

    def test_a_class_per_image(self, kind: type[nn.Module], pack: Any) -> None:
        heatmap = maps_of(kind(), pack(IMAGES, GAINS), [1, 0, 1])
        for i, target in enumerate((1, 0, 1)):
            close(heatmap[i], shown(i, target, float(GAINS[i])))

    def test_the_default_layer_the_bank_and_explain(self, kind: type[nn.Module], pack: Any) -> None:
        network = kind()
        inputs = pack(IMAGES[1:2], GAINS[1:2])
        explanation = scorecam.explain(network, inputs, 0, variant="increase")
        assert explanation.layer.endswith("maps")
        close(explanation.heatmap, shown(1, 0, 3.0))
        bank = scorecam.ScoreCAM(network).bank(inputs)
        close(bank.heatmap(0, "increase"), shown(1, 0, 3.0))
        assert explanation.target.score == pytest.approx(3 * (1 + 4 + 9))

    def test_the_users_inputs_are_not_changed(self, kind: type[nn.Module], pack: Any) -> None:
        x, gain = IMAGES.clone(), GAINS.clone()
        inputs = pack(x, gain)
        maps_of(kind(), inputs, 0)
        assert torch.equal(x, IMAGES)
        assert torch.equal(gain, GAINS)
        assert len(inputs) == 2


def test_one_input_in_a_mapping_is_passed_by_its_name() -> None:
    inputs = UserDict({"pixel_values": IMAGES[:1]})
    [result] = maps_of(Transformer(), inputs, 0)
    close(result, shown(0, 0, 1.0))
    explanation = scorecam.explain(Transformer(), inputs, 1, variant="increase")
    close(explanation.heatmap, shown(0, 1, 1.0))


def test_a_dict_of_inputs_is_passed_whole() -> None:
    network = OneDict()
    maps_of(network, {"pixels": IMAGES, "gain": GAINS, "source": "camera 3", "extra": None}, 0)
    assert network.keys == {"pixels", "gain", "source", "extra"}


# ── what the network is shown ────────────────────────────────────────────────────────────────


def test_only_images_are_masked_and_other_inputs_repeated() -> None:
    network = Gained()
    maps_of(network, {"images": IMAGES, "gain": GAINS}, 0)
    for i, gain in enumerate(GAINS):
        mine = [call for call in network.seen if (call["gain"] == gain).all()]
        images = torch.cat([call["images"] for call in mine])
        assert [len(call["gain"]) for call in mine] == [len(call["images"]) for call in mine]
        truth = [
            IMAGES[i],
            torch.zeros_like(IMAGES[i]),
            IMAGES[i],
            *(IMAGES[i] * colour for colour in IMAGES[i]),
        ]
        assert torch.equal(images, torch.stack(truth))


def test_integers_stay_integers_and_keep_their_shape() -> None:
    class Looked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.regions = Regions(WEIGHTS)
            self.gains = nn.Embedding.from_pretrained(GAINS[:, None])
            self.seen: list[Tensor] = []

        def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
            self.seen.append(tokens)
            return self.regions(images) * self.gains(tokens).mean(1)

    network = Looked()
    tokens = torch.tensor([[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2]])
    heatmap = maps_of(network, (IMAGES, tokens), 0)
    for i, gain in enumerate(GAINS):
        close(heatmap[i], shown(i, 0, float(gain)))
    assert all(seen.dtype == torch.int64 and seen.shape[1:] == (4,) for seen in network.seen)


def test_other_inputs_get_the_precision_of_the_network() -> None:
    network = Gained()
    heatmap = maps_of(network, (IMAGES.double(), GAINS.double()), 0)
    assert {call["gain"].dtype for call in network.seen} == {torch.float32}
    close(heatmap[1].float(), shown(1, 0, 3.0))
    precise = maps_of(Gained().double(), (IMAGES, GAINS), 0)
    close(precise[1], shown(1, 0, 3.0))


@pytest.mark.parametrize(
    "shift", [2.0, 3, torch.tensor(1.5), torch.tensor([0.5, -1.0]), None], ids=str
)
def test_inputs_that_belong_to_no_image_are_shared_unchanged(shift: Any) -> None:
    network = Gained()
    inputs = {"images": IMAGES, "gain": GAINS, "shift": shift}
    heatmap = maps_of(network, inputs, 0)
    assert all(call["shift"] is shift for call in network.seen)
    for i, gain in enumerate(GAINS):
        close(heatmap[i], shown(i, 0, float(gain)))
    in_order = maps_of(Gained(), (IMAGES, GAINS, shift), 0)
    assert torch.equal(in_order, heatmap)


def test_two_small_passes_decide_whether_an_input_of_length_one_is_shared() -> None:
    network = Gained()
    explanation = scorecam.explain(network, (IMAGES[:1], GAINS[:1]), 0, layer="regions.maps")
    assert sum(len(call["images"]) for call in network.seen) == (1 + 3) + 2 + 1 + 3
    assert explanation.provenance.forward_passes == 2 + 1 + 3


def test_the_network_is_unchanged() -> None:
    network = Gained().train()
    maps_of(network, (IMAGES, GAINS), 0)
    assert all(module.training for module in network.modules())
    assert not any(module._forward_hooks for module in network.modules())


# ── which one is masked ──────────────────────────────────────────────────────────────────────


class Stereo(nn.Module):
    """Two photos: scores of the left one times the strength of the right one."""

    def __init__(self) -> None:
        super().__init__()
        self.regions = Regions(WEIGHTS)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.regions(left) * right.mean((1, 2, 3))[:, None]


class TestTwoPhotos:
    right = torch.full((3, 3, 3, 5), 2.0)

    @pytest.mark.parametrize(
        ("masked", "inputs"),
        [
            (0, (IMAGES, right)),
            ("left", {"left": IMAGES, "right": right}),
            ("left", {"right": right, "left": IMAGES}),
        ],
        ids=["by place", "by name", "by name, in any order"],
    )
    def test_masked_input_selects_the_masked_one(self, masked: int | str, inputs: Any) -> None:
        model = scorecam.open_model(Stereo(), head="logits", masked_input=masked)
        result = scorecam.ScoreCAM(model, "regions.maps", "increase")(inputs, 0)
        for i in range(3):
            close(result[i], shown(i, 0, 2.0))

    def test_the_other_one_may_be_masked_instead(self) -> None:
        model = scorecam.open_model(Stereo(), head="logits", masked_input=1)
        left = torch.ones(1, 3, 3, 5)
        # The layer sees the left photo, and the right one is masked.
        with pytest.raises(LayerError, match="does not depend on the masked image"):
            scorecam.ScoreCAM(model, "regions.maps").bank((left, IMAGES[:1]))

    @pytest.mark.parametrize("inputs", [(IMAGES, right), {"left": IMAGES, "right": right}])
    def test_without_it_the_error_names_both(self, inputs: Any) -> None:
        with pytest.raises(SettingError, match="2 of the inputs could be") as error:
            maps_of(Stereo(), inputs, 0)
        assert "masked_input=" in str(error.value)
        assert ("0, 1" if isinstance(inputs, tuple) else "'left', 'right'") in str(error.value)

    @pytest.mark.parametrize(
        ("masked", "inputs", "phrases"),
        [
            ("lefft", {"left": IMAGES, "right": right}, ["Did you mean 'left'?", "'right'"]),
            (2, (IMAGES, right), ["masked_input=2", "0, 1"]),
            ("left", (IMAGES, right), ["masked_input='left'", "0, 1"]),
            (0, {"left": IMAGES, "right": right}, ["masked_input=0", "'left', 'right'"]),
            ("left", {"left": None, "right": right}, ["masked_input='left'"]),
        ],
    )
    def test_an_unknown_input_is_refused_and_lists_the_known_ones(
        self, masked: int | str, inputs: Any, phrases: list[str]
    ) -> None:
        with pytest.raises(SettingError) as error:
            maps_of(Stereo(), inputs, 0, masked_input=masked)
        for phrase in phrases:
            assert phrase in str(error.value)


# ── input that does not fit ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("inputs", "phrase"),
    [
        ((), "0 of the inputs"),
        ({}, "0 of the inputs"),
        ((GAINS, GAINS), "0 of the inputs"),
        ((IMAGES[0], GAINS[:1]), "0 of the inputs"),  # no batch axis
        ((IMAGES.to(torch.uint8), GAINS), "0 of the inputs"),
        ((IMAGES, IMAGES), "2 of the inputs"),
    ],
    ids=["nothing", "an empty dict", "no image", "no batch", "bytes", "two"],
)
def test_an_error_if_no_single_input_can_be_images(inputs: Any, phrase: str) -> None:
    with pytest.raises(SettingError, match=phrase) as error:
        maps_of(Gained(), inputs, 0)
    assert "masked_input" in error.value.do


def test_an_input_of_another_length_is_refused() -> None:
    for gains in (GAINS[:2], GAINS.repeat(2)):
        with pytest.raises(ScorecamError):
            maps_of(Gained(), (IMAGES, gains), 0)


def test_an_input_unknown_to_the_network_is_refused() -> None:
    for inputs in ({"images": IMAGES, "gian": GAINS}, (IMAGES, GAINS, None, None), (IMAGES,)):
        with pytest.raises(ModelError):
            maps_of(Gained(), inputs, 0)


def test_several_images_are_refused_where_one_is_expected() -> None:
    for inputs in ((IMAGES, GAINS), {"images": IMAGES, "gain": GAINS}):
        with pytest.raises(SettingError, match="One image was expected, not 3"):
            scorecam.explain(Gained(), inputs, 0)
        with pytest.raises(SettingError, match="One image was expected, not 3"):
            scorecam.ScoreCAM(Gained()).bank(inputs)


def test_no_image_at_all_is_refused() -> None:
    with pytest.raises(SettingError):
        maps_of(Gained(), (IMAGES[:0], GAINS[:0]), 0)
    with pytest.raises(SettingError):
        scorecam.explain(Gained(), (IMAGES[:0], GAINS[:0]), 0)


def test_images_that_are_not_finite_are_refused() -> None:
    broken = IMAGES.clone()
    broken[1, 0, 0, 0] = torch.nan
    with pytest.raises(SettingError, match="NaN"):
        maps_of(Gained(), (broken, GAINS), 0)


def test_a_wrong_number_of_targets_is_refused_before_any_pass() -> None:
    network = Gained()
    with pytest.raises(TargetError, match="2 targets were given for 3 images"):
        maps_of(network, (IMAGES, GAINS), [0, 1])
    assert network.seen == []


def test_other_inputs_of_one_call_are_not_used_in_the_next() -> None:
    network = Gained()
    model = scorecam.open_model(network, head="logits")
    cam = scorecam.ScoreCAM(model, "regions.maps", "increase")
    close(cam((IMAGES[:1], GAINS[1:2]), 0)[0], shown(0, 0, 3.0))
    close(cam((IMAGES[:1], GAINS[2:3]), 0)[0], shown(0, 0, 0.5))
    with pytest.raises(ModelError):  # the network itself needs its gain
        cam(IMAGES[:1], 0)


# ── a tensor as long as the batch ────────────────────────────────────────────────────────────


class Tabled(nn.Module):
    """Scores multiplied by `reads` of a table that all images share."""

    def __init__(self, reads: Any) -> None:
        super().__init__()
        self.regions = Regions(WEIGHTS)
        self.reads = reads

    def forward(self, images: Tensor, table: Tensor) -> Tensor:
        return self.regions(images) * self.reads(table)


TABLE = torch.tensor([[1.0, 2.0], [3.0, 0.5], [2.0, 4.0]])
READS: dict[str, Any] = {
    "its sum": lambda table: table.sum(),
    "its mean": lambda table: table.mean(),
    "its largest entry": lambda table: table.max(),
    "its first row": lambda table: table[0],
    "its last entry": lambda table: table[-1, -1],
}


@pytest.mark.parametrize("reads", READS.values(), ids=READS)
@pytest.mark.parametrize("images", [2, 3])
def test_a_shared_table_as_long_as_the_batch_is_not_split(reads: Any, images: int) -> None:
    table = TABLE[:images]
    together = maps_of(Tabled(reads), (IMAGES[:images], table), 0)
    gain = torch.as_tensor(reads(table)).expand(2)[0]
    for i, result in enumerate(together):
        close(result, shown(i, 0, float(gain)))


def test_one_of_two_inputs_as_long_as_the_batch_may_belong_to_it() -> None:
    class Both(Gained):
        def forward(self, images: Tensor, gain: Tensor, table: Tensor) -> Tensor:
            return super().forward(images, gain) * table.mean()

    heatmap = maps_of(Both(), (IMAGES, GAINS, TABLE), 1)
    for i, gain in enumerate(GAINS):
        close(heatmap[i], shown(i, 1, float(gain * TABLE.mean())))


def test_a_network_that_mixes_its_batch_is_an_error_with_advice() -> None:
    class Mixing(Gained):
        def forward(self, images: Tensor, gain: Tensor) -> Tensor:
            scores = super().forward(images, gain)
            return scores - scores.mean(dim=0) * gain.std()

    with pytest.raises(SettingError, match="unclear whether 1, as long as the batch"):
        maps_of(Mixing(), (IMAGES, GAINS), 0)
