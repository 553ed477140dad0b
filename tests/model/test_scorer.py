"""Batches, memory, progress, and the kind of scores."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
from networks import InPlace, Network, build, images_for
from scorecam.testing import Regions, Spy, regions

SHORTAGES: dict[str, Callable[[], BaseException]] = {
    "cuda": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "python": MemoryError,
    "cpu": lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 77070336000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "runtime": lambda: RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"),
}


class Short(nn.Module):
    """Runs out of memory on pass number `at`, and in any pass of more than `limit` images."""

    def __init__(
        self,
        network: nn.Module,
        shortage: Callable[[], BaseException] = MemoryError,
        *,
        at: int = 0,
        limit: int = 1000,
    ) -> None:
        super().__init__()
        self.network = network
        self.shortage = shortage
        self.at = at
        self.limit = limit
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        output = self.network(images)
        if len(self.batches) == self.at or len(images) > self.limit:
            raise self.shortage()
        return output


@pytest.fixture
def network() -> Network:
    return build(InPlace)  # 9 channels, 7 of them live: the fill, the image and 7 masked images


@pytest.fixture
def image(network: Network) -> Tensor:
    return images_for(network)[0]


def bank(
    network: nn.Module, image: Tensor, layer: str = "network.norm", **settings: Any
) -> scorecam.ScoreBank:
    return scorecam.ScoreCAM(scorecam.open_model(network), layer, **settings).bank(image)


# ── when memory runs out ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shortage", SHORTAGES.values(), ids=SHORTAGES)
@pytest.mark.parametrize(
    ("at", "batches"),
    [
        (2, [1, 4, 2, 2, 2, 2, 1]),  # the first chunk of 4
        (3, [1, 4, 4, 2, 2, 1]),  # the second
    ],
)
def test_a_batch_that_does_not_fit_is_halved_and_repeated(
    network: Network,
    image: Tensor,
    at: int,
    batches: list[int],
    shortage: Callable[[], BaseException],
) -> None:
    expected = bank(Spy(network), image)
    short = Short(network, shortage, at=at)
    result = bank(short, image, batch_size=4)
    assert short.batches == batches
    torch.testing.assert_close(result.scores, expected.scores, rtol=0, atol=1e-5)
    assert torch.equal(result.asked, expected.asked)
    for variant in scorecam.VARIANTS:
        one = scorecam.scaled(result.heatmap(0, variant))
        other = scorecam.scaled(expected.heatmap(0, variant))
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    assert result.provenance.batch_size == 2


def test_a_shortage_halves_only_the_following_batches(network: Network, image: Tensor) -> None:
    expected = bank(Spy(network), image)
    short = Short(network, at=4)
    result = bank(short, image, batch_size=2)
    assert short.batches == [1, 2, 2, 2, 1, 1, 1, 1, 1]
    torch.testing.assert_close(result.scores, expected.scores, rtol=0, atol=1e-5)
    assert result.provenance.batch_size == 1


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_batches_are_halved_until_they_fit(network: Network, image: Tensor, limit: int) -> None:
    expected = bank(Spy(network), image)
    short = Short(network, limit=limit)
    result = bank(short, image, batch_size=8)
    torch.testing.assert_close(result.scores, expected.scores, rtol=0, atol=1e-5)
    assert result.provenance.batch_size == {1: 1, 2: 2, 3: 2}[limit]
    assert [size for size in short.batches if size > limit] == ([8, 4, 2] if limit == 1 else [8, 4])


@pytest.mark.parametrize("limit", [1, 2])
def test_unmasked_images_are_split_if_they_do_not_fit(network: Network, limit: int) -> None:
    images = images_for(network, count=3)
    expected = scorecam.ScoreCAM(network, "norm")(images, 2)
    result = scorecam.ScoreCAM(Short(network, limit=limit), "network.norm")(images, 2)
    for one, other in zip(result, expected, strict=True):
        torch.testing.assert_close(scorecam.scaled(one), scorecam.scaled(other), rtol=0, atol=1e-5)


def test_the_head_probe_needs_the_memory_of_one_image(network: Network, image: Tensor) -> None:
    bounded = nn.Sequential(network, nn.Sigmoid())
    expected = bank(bounded, image, "0.norm")
    result = bank(Short(bounded, limit=1), image, "network.0.norm")
    assert result.head == expected.head == "probabilities"


@pytest.mark.parametrize("shortage", SHORTAGES.values(), ids=SHORTAGES)
@pytest.mark.parametrize("when", ["default layer", "unmasked", "masked"])
def test_an_image_too_large_for_memory_is_an_error(
    network: Network, image: Tensor, when: str, shortage: Callable[[], BaseException]
) -> None:
    class Never(Short):
        def forward(self, images: Tensor) -> Tensor:
            self.batches.append(len(images))
            enough = {"default layer": 0, "unmasked": 1, "masked": 2}[when]
            if len(self.batches) > enough:
                raise self.shortage()
            return self.network(images)

    never = Never(network, shortage)
    with pytest.raises(scorecam.MemoryShortage) as raised:
        scorecam.ScoreCAM(never, batch_size=2)(image[None])
    assert isinstance(raised.value, MemoryError)
    assert "Memory ran out" in raised.value.what
    assert raised.value.do


def test_other_errors_are_not_retried(network: Network, image: Tensor) -> None:
    short = Short(network, lambda: RuntimeError("shapes do not match"), at=2)
    with pytest.raises(scorecam.ModelError, match="shapes do not match"):
        bank(short, image, batch_size=4)
    assert len(short.batches) == 2


# ── batch size ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "big", "8", None, float("nan"), [4]], ids=repr)
def test_invalid_batch_sizes_are_refused(network: Network, image: Tensor, size: Any) -> None:
    spy = Spy(network)
    with pytest.raises(scorecam.SettingError, match="batch_size"):
        bank(spy, image, batch_size=size)


def test_batch_size_and_time_are_recorded(network: Network, image: Tensor) -> None:
    began = time.perf_counter()
    provenance = bank(Spy(network), image, batch_size=3).provenance
    assert provenance.batch_size == 3
    assert 0 < provenance.seconds < time.perf_counter() - began


def test_auto_uses_larger_batches_for_smaller_images() -> None:
    network = Regions(torch.ones(2, 3))
    small = scorecam.ScoreCAM(network, "maps").bank(torch.rand(3, 20, 30))
    large = scorecam.ScoreCAM(network, "maps").bank(torch.rand(3, 900, 1000))
    assert small.provenance.batch_size == 256
    assert 1 <= large.provenance.batch_size < 8


def test_the_head_probe_respects_the_batch_size(network: Network, image: Tensor) -> None:
    spy = Spy(nn.Sequential(network, nn.Sigmoid()))
    bank(spy, image, "network.0.norm", batch_size=1)
    assert {len(batch) for batch in spy.seen} == {1}


# ── progress ─────────────────────────────────────────────────────────────────────────────────


def steps(network: nn.Module, images: Tensor, **settings: Any) -> list[tuple[int, int]]:
    reports: list[tuple[int, int]] = []
    cam = scorecam.ScoreCAM(
        network,
        "network.norm",
        progress=lambda progress: reports.append((progress.done, progress.total)),
        **settings,
    )
    cam(images, 0)
    return reports


def test_progress_is_reported_before_and_after_each_batch(network: Network, image: Tensor) -> None:
    reports = steps(Spy(network), image[None], batch_size=3)
    assert reports == [(0, 8), (2, 8), (5, 8), (8, 8)]


def test_progress_covers_all_images(network: Network) -> None:
    images = images_for(network, count=3)
    reports = steps(Spy(network), images, batch_size=10)
    assert reports == [(0, 22), (7, 22), (17, 22), (22, 22)]


def test_progress_never_decreases_when_memory_runs_out(network: Network, image: Tensor) -> None:
    for at in (2, 3):
        reports = steps(Short(network, at=at), image[None], batch_size=4)
        done = [done for done, _ in reports]
        assert done == sorted(done)
        assert (done[0], done[-1]) == (0, 8)


# ── kinds of scores ──────────────────────────────────────────────────────────────────────────

SIZES = (4, 2, 3)


def head_of(weights: list[list[float]], *after: nn.Module, head: Any = "auto") -> tuple[str, int]:
    """The head detected for `Regions` followed by these modules, and the passes counted."""
    network = nn.Sequential(Regions(torch.tensor(weights)), *after)
    spy = Spy(network)
    model = scorecam.open_model(spy, head=head)
    result = scorecam.ScoreCAM(model, "network.0.maps").bank(regions(SIZES, 5, 7))
    assert result.provenance.forward_passes == len(spy.images)
    return result.head, len(
        spy.images
    ) - 6  # the image twice, the fill and three masks are always scored


LOGITS = [[1.0, -2.0, 0.5], [0.3, 0.2, -1.0]]
SMALL = [[0.05, 0.02, 0.03], [0.01, 0.06, 0.02]]


def test_numbers_beyond_0_and_1_are_logits() -> None:
    assert head_of(LOGITS) == ("logits", 0)


def test_rows_that_sum_to_one_are_probabilities() -> None:
    assert head_of(LOGITS, nn.Softmax(dim=1)) == ("probabilities", 1)


def test_sigmoids_are_probabilities() -> None:
    assert head_of(LOGITS, nn.Sigmoid()) == ("probabilities", 1)


def test_small_logits_are_logits() -> None:
    # z(X) = (0.33, 0.22) and z(fill) = (0, 0): all in [0, 1], unlike those of stronger input.
    assert head_of(SMALL) == ("logits", 2)


def test_one_unbounded_column_is_a_binary_logit() -> None:
    assert head_of(LOGITS[:1]) == ("sigmoid", 0)
    assert head_of(SMALL[:1]) == ("sigmoid", 2)


def test_one_bounded_column_is_a_probability() -> None:
    assert head_of(LOGITS[:1], nn.Sigmoid()) == ("probabilities", 1)


def test_log_probabilities_are_logits() -> None:
    assert head_of(LOGITS, nn.LogSoftmax(dim=1)) == ("logits", 0)


@pytest.mark.parametrize("head", ["logits", "sigmoid", "probabilities", "value"])
def test_a_declared_head_is_used_and_costs_no_pass(head: str) -> None:
    assert head_of(LOGITS, nn.Sigmoid(), head=head) == (head, 0)


@pytest.mark.parametrize("wrong", ["logit", "softmax", "Sigmoid", ""])
def test_an_unknown_head_is_refused_and_lists_the_known_ones(network: Network, wrong: Any) -> None:
    with pytest.raises(scorecam.SettingError, match="no head") as raised:
        scorecam.open_model(network, head=wrong)
    assert "logits, probabilities, sigmoid, value" in raised.value.do


def test_the_head_does_not_depend_on_the_other_images() -> None:
    # The first image alone looks like probabilities; the second does not.
    network = Regions(torch.tensor(SMALL) * 3)
    weak, strong = regions((1, 1, 1), 5, 7), regions((9, 9, 9), 5, 7)
    cam = scorecam.ScoreCAM(network, "maps")
    alone = cam(weak[None], 0)
    torch.testing.assert_close(cam(torch.stack([weak, strong]), 0)[:1], alone, rtol=0, atol=1e-6)


def test_a_binary_head_has_two_columns_that_sum_to_one() -> None:
    for after in ([], [nn.Sigmoid()]):
        network = nn.Sequential(Regions(torch.tensor(LOGITS[:1])), *after)
        result = scorecam.ScoreCAM(network, "0.maps").bank(regions(SIZES, 5, 7))
        assert result.names == ("negative", "positive")
        yes, no = result.target("positive"), result.target("negative")
        assert yes.probability is not None
        assert no.probability is not None
        assert yes.probability + no.probability == pytest.approx(1)
        weights = result.weights("positive") + result.weights("negative")
        torch.testing.assert_close(weights, torch.ones(3))


# ── inputs ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "x",
    [
        torch.rand(3, 24, 40),
        torch.rand(24, 40),
        torch.rand(1, 1, 3, 24, 40),
        torch.rand(0, 3, 24, 40),
        torch.rand(1, 3, 0, 40),
        torch.randint(0, 255, (1, 3, 24, 40), dtype=torch.uint8),
        torch.ones(1, 3, 24, 40, dtype=torch.bool),
    ],
    ids=lambda x: f"{tuple(x.shape)} {x.dtype}",
)
def test_an_invalid_batch_is_refused_after_one_try_at_most(network: Network, x: Tensor) -> None:
    spy = Spy(network)
    with pytest.raises(scorecam.SettingError, match="input"):
        scorecam.ScoreCAM(spy, "network.norm")(x)
    # With another number of axes, one image shows whether the network takes such a form.
    others = x.is_floating_point() and x.ndim != 4
    assert [len(batch) for batch in spy.seen] == ([1] if others else [])


def test_explain_takes_one_image_with_or_without_its_batch_axis(
    network: Network, image: Tensor
) -> None:
    one = scorecam.explain(network, image, 0, layer="norm")
    other = scorecam.explain(network, image[None], 0, layer="norm")
    assert torch.equal(one.heatmap, other.heatmap)
    with pytest.raises(scorecam.SettingError, match="One image was expected, not 2"):
        scorecam.explain(network, torch.stack([image, image]), 0, layer="norm")


def test_maps_have_the_device_and_size_of_the_image(network: Network) -> None:
    images = images_for(network, count=2)
    maps = scorecam.ScoreCAM(network, "norm")(images)
    assert (maps.shape, maps.device, maps.dtype) == ((2, 24, 40), images.device, torch.float32)


def test_repeated_calls_are_bitwise_equal(network: Network) -> None:
    images = images_for(network, count=2)
    cam = scorecam.ScoreCAM(network, "norm", batch_size=4)
    assert torch.equal(cam(images), cam(images))


def test_it_works_as_a_context_manager(network: Network, image: Tensor) -> None:
    with scorecam.ScoreCAM(network, "norm") as cam:
        inside = cam(image[None])
    assert torch.equal(cam(image[None]), inside)


@pytest.mark.parametrize(
    "settings",
    [
        {"fill": float("nan")},
        {"fill": (0.0, float("inf"), 0.0)},
        {"scale": "never"},
        {"epsilon": -1e-8},
        {"epsilon": float("inf")},
    ],
    ids=str,
)
def test_invalid_masking_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(scorecam.SettingError):
        scorecam.Masking(**settings)


def test_a_fill_with_the_wrong_number_of_colours_is_refused(
    network: Network, image: Tensor
) -> None:
    spy = Spy(network)
    with pytest.raises(scorecam.SettingError, match="2 numbers, but the input has 3 colours"):
        bank(spy, image, masking=scorecam.Masking(fill=(0.0, 1.0)))
