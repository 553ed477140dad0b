"""Runtime failures and half-precision overflows do not change the map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
from networks import CLASSES, flatten_channels
from scorecam.backends.runtimes import casting
from scorecam.testing import Spy, regions
from stand_in_runtime import Converter, Short, bank, distance, equal_times, ran

# ── failures on the way ──────────────────────────────────────────────────────────────────────


class Wide(nn.Module):
    """A convolution of 40 channels, 38 of them live: five batches of eight with the fill."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 40, 3, stride=2)
        self.classes = nn.Linear(40, CLASSES)
        flatten_channels(self.conv)

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.conv(images).relu().mean((2, 3))) * 10


X = torch.rand(3, 15, 17, generator=torch.Generator().manual_seed(0))


def failing(at: int, error: BaseException) -> Callable[[int, Tensor], Tensor]:
    def spoil(number: int, scores: Tensor) -> Tensor:
        if number == at:
            raise error
        return scores

    return spoil


@pytest.mark.parametrize("runtime", ["openvino", "auto"])
@pytest.mark.parametrize("batch", [1, 3, 5])
@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (RuntimeError("infer request was lost"), "infer request was lost"),
        (torch.OutOfMemoryError("Tried to allocate 2.00 GiB."), "Tried to allocate 2.00 GiB."),
        (None, "it returned NaN or infinity"),
    ],
    ids=["error", "memory", "NaN"],
)
@pytest.mark.usefixtures("impatient")
def test_the_network_takes_over_from_the_batch_that_fails(
    converter: Converter, batch: int, error: Exception | None, cause: str, runtime: Any
) -> None:
    network = Wide()
    truth = bank(network, X, "conv", runtime="eager")
    at = 1 + batch  # after the probe
    if error is not None:
        converter.spoil = failing(at, error)
    else:
        converter.spoil = lambda number, scores: scores / (number != at)
    result = bank(network, X, "conv", runtime=runtime)
    remark = (
        f"openvino in float32 failed in use ({cause}). From then on, eager in float32 was used."
    )
    assert ran(result) == ("openvino", "float32", (remark,))
    assert len(converter.passes) == at  # it was not used again
    torch.testing.assert_close(result.scores, truth.scores, rtol=0, atol=1e-5)
    assert distance(result, truth) <= 1e-5
    assert result.provenance.batch_size == 8


def test_an_interruption_is_not_a_failure(converter: Converter) -> None:
    converter.spoil = failing(3, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        bank(Wide(), X, "conv", runtime="openvino")


@pytest.mark.usefixtures("converter")
def test_nan_from_the_network_itself_does_not_reject_a_runtime() -> None:
    spy = Spy(Wide())
    bank(spy, X, "network.conv", runtime="eager")
    odd = spy.images[
        3 + 5
    ]  # after the image, the fill and the image again, mask 5: not on the probe

    class Limited(Wide):
        def forward(self, images: Tensor) -> Tensor:
            refused = (images - odd).abs().flatten(1).amax(1) < 1e-6
            return super().forward(images).masked_fill(refused[:, None], torch.nan)

    truth = bank(Limited(), X, "conv", runtime="eager")
    result = bank(Limited(), X, "conv", runtime="openvino")
    halved = Spy(Limited())
    half = bank(halved, X, "network.conv", runtime="eager", precision="bfloat16")
    assert ran(half)[:2] == ("eager", "bfloat16")
    assert not any("bfloat16" in remark for remark in ran(half)[2])
    assert len(halved.images) == half.provenance.forward_passes  # none was scored twice
    assert (~truth.answered).nonzero().tolist() == [[5]]
    assert torch.equal(result.answered, truth.answered)
    assert ran(result)[:2] == ("openvino", "float32")


# ── half precision that overflows ────────────────────────────────────────────────────────────


class Peaks(nn.Module):
    """z = (40·s², 1), where s is the weighted number of pixels: 102,400 where |s| = 50 or so."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        colours = len(weights)
        self.maps = nn.Conv2d(colours, colours, 1, bias=False)
        self.sums = nn.Conv2d(colours, 1, 1, bias=False)
        with torch.no_grad():
            self.maps.weight.copy_(torch.eye(colours)[:, :, None, None])
            self.sums.weight.copy_(torch.tensor(weights)[None, :, None, None])

    def forward(self, images: Tensor) -> Tensor:
        sums = self.sums(self.maps(images)).flatten(1).sum(1)
        return torch.stack([sums * sums * 40, torch.ones_like(sums)], dim=1)


ONES = [1.0] * 9
SIZES = (3, 50, 2, 50, 4, 1, 2, 3, 2)


@pytest.mark.parametrize("precision", ["auto", "float16"])
def test_a_network_that_overflows_in_half_precision_uses_its_own(
    precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(casting, "half_precision", lambda _device: "float16")
    model, x = scorecam.open_model(Peaks(ONES), head="value"), regions(SIZES, 12, 11)
    truth = scorecam.ScoreCAM(model, "maps", runtime="eager").bank(x)
    result = scorecam.ScoreCAM(model, "maps", precision=precision).bank(x)
    assert ran(result)[:2] == ("eager", "float32")
    assert torch.equal(result.scores, truth.scores)
    remarks = result.provenance.remarks
    assert len(remarks) == (precision == "float16")
    assert all("in float16 moves the heatmap by" in remark for remark in remarks)


@pytest.mark.parametrize("precision", ["auto", "float16"])
def test_masks_that_overflow_after_the_probe_are_scored_in_float32(
    precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(casting, "half_precision", lambda _device: "float16")
    equal_times(monkeypatch)
    # Two large regions, neither of them on the probe, cancel each other in the whole image.
    weights = [1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    model, x = scorecam.open_model(Peaks(weights), head="value"), regions(SIZES, 12, 11)
    truth = scorecam.ScoreCAM(model, "maps", runtime="eager").bank(x)
    assert truth.scores[1, 0] == truth.scores[3, 0] == 100_000
    result = scorecam.ScoreCAM(model, "maps", precision=precision, batch_size=2).bank(x)
    assert ran(result)[:2] == ("eager", "float16")
    [remark] = result.provenance.remarks
    assert "eager in float16 failed in use (it returned NaN or infinity)" in remark
    assert remark.endswith("eager in float32 was used.")
    assert distance(result, truth) <= 1e-3


# ── when memory runs out ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("budget", [20, "fast"])
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_with_a_budget_a_batch_that_does_not_fit_is_halved(
    where: str, budget: Any, precision: Any
) -> None:
    settings = {"runtime": "eager", "precision": precision, "budget": budget}
    undisturbed = Spy(Wide())
    truth = bank(undisturbed, X, "network.conv", **settings)
    first, last = 2 if precision == "float32" else 4, len(undisturbed.seen)  # after the probe
    at = {"first": first, "middle": (first + last) // 2, "last": last}[where]
    short = Short(Wide(), at=at)
    result = bank(short, X, "network.conv", **settings)
    assert result.provenance.batch_size == max(1, short.batches[at - 1] // 2)
    assert max(short.batches[at:]) <= result.provenance.batch_size
    assert ran(result) == ("eager", precision, ())
    if precision == "float32":
        torch.testing.assert_close(result.scores, truth.scores, rtol=0, atol=1e-5)
        assert distance(result, truth) <= 1e-5


@pytest.mark.parametrize("budget", ["exact", 22])
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_batches_are_halved_if_runtime_and_network_lack_memory(
    converter: Converter, batch: int, budget: Any
) -> None:
    network = Wide()
    truth = bank(network, X, "conv", budget=budget)
    converter.spoil = failing(1 + batch, torch.OutOfMemoryError("Tried to allocate 2.00 GiB."))
    short = Short(network, limit=3)
    result = bank(short, X, "network.conv", runtime="openvino", budget=budget)
    assert result.provenance.batch_size == 2
    assert len(result.provenance.remarks) == 1
    torch.testing.assert_close(result.scores, truth.scores, rtol=0, atol=1e-5)
    assert distance(result, truth) <= 1e-5


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("runtime", ["openvino", "auto"])
def test_a_probe_that_does_not_fit_is_halved_too(converter: Converter, runtime: Any) -> None:
    truth = bank(Wide(), X, "conv", runtime="eager")
    short = Short(Wide(), limit=1)
    result = bank(short, X, "network.conv", runtime=runtime)
    assert ran(result) == ("openvino", "float32", ())
    assert distance(result, truth) <= 1e-5
    assert len(converter.made) == 1
