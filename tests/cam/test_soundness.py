"""Each image is scored twice: noise, batch mixing and saturation are noted."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

import scorecam
from scorecam.bank import file as bankfile
from scorecam.bank.health import measure
from scorecam.scoring.banks import make_banks
from scorecam.testing import Spy

CODES = {"saturated", "not-repeatable", "mixes-batch"}


class Net(nn.Module):
    """Convolution, the given module, pooling, and a linear head."""

    def __init__(self, unsound: nn.Module, columns: int = 4, bias: float | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.maps = nn.Conv2d(3, 12, 3, stride=2)
            self.classes = nn.Linear(12, columns)
        with torch.no_grad():
            self.classes.weight.mul_(8)
            if bias is not None:
                self.classes.bias.copy_(bias * torch.tensor([1.0, *[-1.0] * (columns - 1)]))
        self.unsound = unsound

    def forward(self, images: Tensor) -> Tensor:
        features = self.unsound(self.maps(images).relu())
        return self.classes(features.mean((2, 3)))


class AlwaysOn(nn.Module):
    """Dropout that ignores evaluation mode."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.p, training=True)


class Counting(nn.Module):
    """Its output changes at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * (1 + 0.2 * self.calls)


class LessTheMean(nn.Module):
    """Contrastive: subtracts a share of the batch mean."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return x - self.share * x.mean(0, keepdim=True)


def photo(seed: int = 0) -> Tensor:
    return torch.randn(3, 17, 21, generator=torch.Generator().manual_seed(seed))


def explained(network: nn.Module, **settings: Any) -> scorecam.Explanation:
    model = scorecam.open_model(network, head=settings.pop("head", "auto"))
    return scorecam.explain(model, photo(), runtime="eager", layer="maps", **settings)


def noted(explanation: scorecam.Explanation) -> set[str]:
    return {note.code for note in explanation.health} & CODES


UNSOUND = {
    "dropout": (AlwaysOn(0.5), "not-repeatable"),
    "a little dropout": (AlwaysOn(0.05), "not-repeatable"),
    "counter": (Counting(), "not-repeatable"),
    "batch norm": (nn.BatchNorm2d(12, track_running_stats=False), "mixes-batch"),
    "contrastive": (LessTheMean(0.5), "mixes-batch"),
}

SOUND = {
    "nothing": nn.Identity(),
    "dropout": nn.Dropout(0.5),
    "batch norm": nn.BatchNorm2d(12),
    "instance norm": nn.Sequential(nn.InstanceNorm2d(12), nn.ReLU()),
    "almost no mixing": LessTheMean(1e-5),
}


@pytest.mark.parametrize("budget", ["exact", 5])
@pytest.mark.parametrize(("unsound", "code"), UNSOUND.values(), ids=UNSOUND)
def test_an_unrepeatable_or_batch_mixing_network_is_noted(
    unsound: nn.Module, code: str, budget: Any
) -> None:
    torch.manual_seed(0)
    explanation = explained(Net(unsound), budget=budget)
    assert noted(explanation) == {code}
    [note] = [note for note in explanation.health if note.code == code]
    assert note.value > note.threshold == 0.01
    assert "threshold 1 %" in note.sentence
    assert len(note.sentence) <= 600
    json.dumps(note.value, allow_nan=False)


@pytest.mark.parametrize("budget", ["exact", 5])
@pytest.mark.parametrize("sound", SOUND.values(), ids=SOUND)
def test_a_sound_network_gets_no_note(sound: nn.Module, budget: Any) -> None:
    assert noted(explained(Net(sound), budget=budget)) == set()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_sound_network_of_any_precision_gets_no_note(dtype: torch.dtype) -> None:
    assert noted(explained(Net(nn.Identity()).to(dtype))) == set()


def test_each_image_of_a_batch_gets_its_own_note() -> None:
    images = torch.stack([photo(seed) for seed in range(3)])
    for unsound, code in (UNSOUND["contrastive"], UNSOUND["dropout"]):
        cam = scorecam.ScoreCAM(Net(unsound), "maps", runtime="eager")
        banks = make_banks(cam.model, images, [None] * 3, layer=cam.layer, settings=cam.settings)
        for bank in banks:
            explanation = scorecam.Explanation(bank, bank.target(), bank.variant())
            assert noted(explanation) == {code}


def test_a_single_image_cannot_be_mixed() -> None:
    assert noted(explained(Net(LessTheMean(0.5)), batch_size=1)) == set()


@pytest.mark.parametrize("sound", [True, False], ids=["sound", "unsound"])
def test_the_check_takes_one_pass_or_three_if_scores_differ(sound: bool) -> None:
    spy = Spy(Net(nn.Identity() if sound else LessTheMean(0.5)))
    model = scorecam.open_model(spy, head="logits")
    bank = scorecam.ScoreCAM(model, "network.maps", runtime="eager").bank(photo())
    assert bank.provenance.forward_passes == len(spy.images)
    assert len(spy.images) == 2 + 1 + len(bank.asked) + (0 if sound else 2)


def test_soundness_measurements_are_saved_in_the_bank(tmp_path: Path) -> None:
    for unsound, code in (UNSOUND["contrastive"], UNSOUND["dropout"]):
        explanation = explained(Net(unsound))
        explanation.bank.save(tmp_path / "bank.safetensors")
        bank = scorecam.ScoreBank.load(tmp_path / "bank.safetensors")
        assert noted(dataclasses.replace(explanation, bank=bank)) == {code}
        assert bank.provenance == explanation.provenance


def test_a_bank_without_soundness_measurements_still_opens(tmp_path: Path) -> None:
    path = tmp_path / "bank.safetensors"
    explanation = explained(Net(nn.Identity()))
    explanation.bank.save(path)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    record = json.loads(metadata["scorecam"])
    del record["provenance"]["unrepeated"], record["provenance"]["mixed"]
    del record[bankfile.CHECKSUM]  # banks of that version had none
    metadata["scorecam"] = json.dumps(record)
    safetensors.torch.save_file(tensors, path, metadata)
    bank = scorecam.ScoreBank.load(path)
    assert noted(dataclasses.replace(explanation, bank=bank)) == set()


# ── saturated ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("columns", "bias", "phrase"),
    [(1, 45.0, "head='value'"), (2, 60.0, "head='value'"), (4, 60.0, "head='value'")],
    ids=["a regression", "two logits", "four logits"],
)
def test_saturated_scores_are_noted(columns: int, bias: float, phrase: str) -> None:
    explanation = explained(Net(nn.Identity(), columns, bias))
    weights = explanation.bank.weights()[explanation.bank.asked]
    assert weights.max() - weights.min() < 0.01
    [note] = [note for note in explanation.health if note.code == "saturated"]
    assert note.value < note.threshold == 0.01
    assert "nearly the sum of the activations" in note.sentence
    assert phrase in note.sentence
    assert len(note.sentence) <= 600


def test_unbounded_scores_are_not_saturated() -> None:
    explanation = explained(Net(nn.Identity(), 1, 45.0))
    assert noted(explanation.of(None, "increase")) == set()
    assert noted(explained(Net(nn.Identity(), 1, 45.0), head="value").of(None, "increase")) == set()


def test_a_target_with_zero_probability_is_saturated() -> None:
    explanation = explained(Net(nn.Identity(), 2, 200.0)).of(1)
    [note] = [note for note in explanation.health if note.code == "saturated"]
    assert "No masked photo has a probability above 0" in note.sentence


def test_a_confident_network_with_varying_scores_is_not_saturated() -> None:
    explanation = explained(Net(nn.Identity(), 4, 1.0))
    assert explanation.target.probability > 0.9
    assert noted(explanation) == set()


def test_a_single_mask_gives_no_saturation_note() -> None:
    explanation = explained(Net(nn.Identity(), 2, 60.0))
    bank = dataclasses.replace(
        explanation.bank,
        live=explanation.bank.live[:1],
        asked=explanation.bank.asked[:1],
        scores=explanation.bank.scores[:1],
    )
    result = measure(bank, explanation.target, explanation.variant, explanation.heatmap)
    assert "saturated" not in result
