"""What the model is shown: which images, in which order, how many, and in which state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

import reference
import scorecam
from networks import NETWORKS, Network, Signed, build, images_for
from scorecam.testing import Regions, Spy, regions


def spied(network: nn.Module) -> tuple[Spy, scorecam.Model]:
    spy = Spy(network)
    return spy, scorecam.open_model(spy, head="logits")


def questions(network: Network, image: Tensor, fill: Tensor) -> Tensor:
    """X·H_k + fill·(1 − H_k) for every channel that is not flat, in float64, `s c *i`."""
    precise = network.double()
    masks = [
        reference.min_max(reference.upsampled(grid, tuple(image.shape[1:])))
        for _, grid in reference.live_maps(precise, image.double())
    ]
    network.float()
    return torch.stack([image * mask + fill * (1 - mask) for mask in masks])


# ── which images ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_model_sees_image_fill_image_and_masks_in_order(
    kind: type[Network],
) -> None:
    network = build(kind)
    image = images_for(network)[0]
    spy, model = spied(network)
    scorecam.ScoreCAM(model, f"network.{network.layer}").bank(image)

    seen = spy.images
    masked = questions(network, image, torch.zeros(()))
    assert len(seen) == 1 + 1 + 1 + len(masked)
    assert torch.equal(seen[0], image)
    assert not seen[1].any()
    assert torch.equal(seen[2], image)
    torch.testing.assert_close(seen[3:].double(), masked, rtol=0, atol=1e-6)


@pytest.mark.parametrize("fill", [0.5, -1.25, (0.5, -0.25, 2.0)])
def test_masked_pixels_and_the_empty_image_have_the_fill_value(
    fill: float | tuple[float, ...],
) -> None:
    network = build(Signed)
    image = images_for(network)[0]
    spy, model = spied(network)
    masking = scorecam.Masking(fill=fill)
    scorecam.ScoreCAM(model, "network.conv", masking=masking, batch_size=3).bank(image)

    colours = torch.tensor(fill if isinstance(fill, tuple) else (fill,) * 3)
    empty = colours.reshape(3, 1, 1).expand_as(image)
    assert torch.equal(spy.images[1], empty)
    masked = questions(network, image, empty.double())
    torch.testing.assert_close(spy.images[3:].double(), masked, rtol=0, atol=1e-6)


def test_flat_channels_are_never_scored() -> None:
    # Colours 1 and 3 are constant, so they have no mask.
    image = regions((4, 0, 2, 0), 3, 5)
    image[3] = 1.0
    spy, model = spied(Regions(torch.ones(2, 4)))
    bank = scorecam.ScoreCAM(model, "network.maps").bank(image)
    assert bank.asked.tolist() == [0, 2]
    assert len(spy.images) == 2 + 1 + 2
    assert torch.equal(spy.images[3], image * image[0])
    assert torch.equal(spy.images[4], image * image[2])


def test_if_all_channels_are_flat_only_image_and_fill_are_scored() -> None:
    spy, model = spied(Regions(torch.ones(2, 3)))
    heatmap = scorecam.ScoreCAM(model, "network.maps")(torch.ones(1, 3, 4, 6))
    assert len(spy.images) == 3
    assert not heatmap.any()


# ── how many ─────────────────────────────────────────────────────────────────────────────────


def test_the_default_layer_costs_one_image_per_size() -> None:
    network = build(NETWORKS[3])
    image = images_for(network)[0]
    spy, model = spied(network)
    cam = scorecam.ScoreCAM(model)
    bank = cam.bank(image)
    alone = 2 + 1 + len(bank.asked)
    assert bank.layer == "network.relu"
    assert len(spy.images) == 1 + alone
    assert torch.equal(spy.images[0], spy.images[1])
    cam.bank(image)
    assert len(spy.images) == 1 + alone + alone


def test_the_reported_number_of_passes_is_exact() -> None:
    network = build(NETWORKS[0])
    images = images_for(network, count=2)
    for head in ("logits", "auto"):
        spy = Spy(network)
        model = scorecam.open_model(spy, head=head)
        bank = scorecam.ScoreCAM(model, "network.norm").bank(images[0])
        assert bank.provenance.forward_passes == len(spy.images)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 1000])
def test_every_pass_but_the_last_has_exactly_the_batch_size(
    batch_size: int,
) -> None:
    network = build(NETWORKS[0])
    spy, model = spied(network)
    cam = scorecam.ScoreCAM(model, "network.norm", batch_size=batch_size)
    asked = len(cam.bank(images_for(network)[0]).asked)
    full, rest = divmod(2 + asked, batch_size)
    assert [len(batch) for batch in spy.seen] == [1, *[batch_size] * full, *[rest] * (rest > 0)]


def test_the_masks_of_several_images_share_passes_and_one_fill() -> None:
    network = build(NETWORKS[0])
    images = images_for(network, count=3)
    spy, model = spied(network)
    scorecam.ScoreCAM(model, "network.norm", batch_size=4)(images, 0)
    masked = [questions(network, image, torch.zeros(())) for image in images]
    total = 1 + 3 + sum(map(len, masked))
    assert [len(batch) for batch in spy.seen[:1]] == [3]
    assert len(spy.seen) == 1 + math.ceil(total / 4)
    assert torch.equal(spy.images[:3], images)
    assert not spy.images[3].any()
    assert torch.equal(spy.images[4:7], images)
    torch.testing.assert_close(spy.images[7:].double(), torch.cat(masked), rtol=0, atol=1e-6)


def test_reading_a_bank_or_an_explanation_costs_no_pass() -> None:
    network = build(NETWORKS[0])
    spy, model = spied(network)
    explanation = scorecam.explain(model, images_for(network)[0], layer="network.norm")
    before = len(spy.seen)
    for variant in scorecam.VARIANTS:
        explanation.of(3, variant).heatmap  # noqa: B018  reading it is the point
        explanation.bank.contrast(0, 1, variant)
    assert len(explanation.top(3)) == 3
    explanation.health  # noqa: B018
    assert len(spy.seen) == before


def test_opening_a_model_is_free_and_listing_layers_costs_one_pass() -> None:
    spy, model = spied(build(NETWORKS[0]))
    assert spy.seen == []
    scorecam.layers(model, torch.zeros(spy.network.image))
    assert [len(batch) for batch in spy.seen] == [1]


def test_an_invalid_target_costs_no_pass() -> None:
    network = build(NETWORKS[0])
    spy = Spy(network)
    model = scorecam.open_model(spy, labels=["ant", "bee", "cat", "dog", "emu"])
    image = images_for(network)
    with pytest.raises(scorecam.TargetError):
        scorecam.explain(model, image, "cta")
    with pytest.raises(scorecam.TargetError):
        scorecam.ScoreCAM(model)(image, [0, 1])
    assert spy.seen == []


def test_images_with_the_same_readout_share_passes() -> None:
    network = build(NETWORKS[0])
    images = images_for(network, count=4)
    spy, model = spied(network)

    def first(output: Tensor) -> Tensor:
        return output[:, 0]

    scorecam.ScoreCAM(model, "network.norm", batch_size=1000)(images, [first, 1, first, 2])
    assert [len(batch) for batch in spy.seen[::2]] == [2, 2]
    assert len(spy.seen) == 4
    assert torch.equal(spy.seen[0], images[[0, 2]])


# ── in which state ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("training", [True, False])
def test_every_pass_runs_in_evaluation_mode_without_autograd(training: bool) -> None:
    network = build(NETWORKS[0])
    spy, model = spied(network)
    spy.train(training)
    scorecam.ScoreCAM(model)(images_for(network).requires_grad_(), 0)
    assert len(spy.modes) == 3  # for the layer, for the image, and for the masks
    assert set(spy.modes) == {(False, True, False)}


# ── memory ───────────────────────────────────────────────────────────────────────────────────


class Small(nn.Module):
    """A network that needs almost no memory, so allocations come from the package."""

    def __init__(self, channels: int, colours: int = 3) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(32)
        self.maps = nn.Conv2d(colours, channels, 1)
        self.classes = nn.Linear(channels, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.maps(self.pool(images)).mean((2, 3)))


def peak_bytes(work: Callable[[], object]) -> int:
    """The peak number of bytes of CPU tensors during `work`."""

    def allocations(events: list) -> Iterator[tuple[int, int]]:
        for event in events:
            if event.tag == _EventType.Allocation:
                yield event.start_time_ns, event.extra_fields.alloc_size
            yield from allocations(event.children)

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    held = peak = 0
    tree = profiler.profiler.kineto_results.experimental_event_tree()
    for _, size in sorted(allocations(tree)):
        held += size
        peak = max(peak, held)
    return peak


def test_the_peak_is_measured_correctly() -> None:
    def work() -> None:
        torch.zeros(5000)  # freed at once
        kept = torch.zeros(1000)
        kept.repeat(3)

    assert 16_000 <= peak_bytes(work) <= 20_200


@pytest.mark.parametrize("count", [1, 3])
def test_at_most_one_batch_of_images_and_masks_is_in_memory(count: int) -> None:
    side, batch, channels = 128, 32, 256
    network = Small(channels)
    images = torch.rand(count, 3, side, side)
    masking = scorecam.Masking(fill=0.5)
    cam = scorecam.ScoreCAM(network, "maps", masking=masking, batch_size=batch)
    cam(images, 0)
    one_mask = side * side * 4
    # The buffer of masked images (3 colours) and a batch of masks; and for everything small (the
    # photos, the fill, the maps, a partly upsampled batch) less than one more batch of masks.
    held = 4 * batch * one_mask
    assert held < peak_bytes(lambda: cam(images, 0)) < held + 0.75 * batch * one_mask


def test_a_batch_that_did_not_fit_is_freed_before_the_next() -> None:
    class Short(Small):
        """Runs out of memory on a whole batch."""

        def forward(self, images: Tensor) -> Tensor:
            if len(images) > 16:
                raise MemoryError
            return super().forward(images)

    side, batch, colours = 128, 32, 12
    image = torch.rand(1, colours, side, side)
    cam = scorecam.ScoreCAM(Short(64, colours), "maps", batch_size=batch)
    cam(image, 0)
    one_mask = side * side * 4
    # A whole batch and its masks make 13; with half a batch in addition it would be 18.
    assert peak_bytes(lambda: cam(image, 0)) < 15 * batch * one_mask
