"""A detector of torchvision, small and with random weights.

Its compiled operators do not load with every build of torch. The only one that an SSD needs is
non-maximum suppression, which is then written here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
import torchvision_ops
from scorecam.tasks import Detect
from scorecam.tasks.detect.decoder import RawOutput
from scorecam.tasks.detect.detections import intersection_over_union
from scorecam.tasks.detect.recognition import decoder_for

pytestmark = pytest.mark.needs("torchvision")

IMAGES = torch.rand(2, 3, 100, 140, generator=torch.Generator().manual_seed(0))


def suppress(boxes: Tensor, scores: Tensor, overlap: float) -> Tensor:
    """What `torchvision::nms` does."""
    left, kept = torch.ones(len(boxes), dtype=torch.bool), list[int]()
    for row in scores.argsort(descending=True).tolist():
        if left[row]:
            kept.append(row)
            left &= intersection_over_union(boxes, boxes[row : row + 1])[0] <= overlap
    return torch.tensor(kept, dtype=torch.long)


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from torchvision import extension
    from torchvision.models import detection

    library = torch.library.Library("torchvision", "IMPL")
    if torchvision_ops.define() is not None:
        library.impl("nms", suppress, "CPU")
        monkeypatch.setattr(extension, "_has_ops", lambda: True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        build: Any = detection.ssdlite320_mobilenet_v3_large
        network = build(weights=None, weights_backbone=None, num_classes=4, score_thresh=0.95)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        network.train()
        with torch.no_grad():  # the numbers of each layer get the scale of trained ones
            network.head(list(network.backbone(torch.rand(4, 3, 320, 320)).values()))
    yield network.eval()
    library._destroy()


def test_an_ssd_of_torchvision_is_explained(detector: nn.Module) -> None:
    with torch.no_grad():
        [first, second] = detector(IMAGES)
    assert len(first["scores"]) > 0
    explanation = scorecam.explain(detector, IMAGES[0], task=Detect(threshold=0.97), budget=8)
    bank = explanation.bank
    expected = int((first["scores"] > 0.97).sum())
    assert len(bank.names or ()) == expected
    assert bank.boxes is not None
    assert torch.allclose(bank.boxes[0], first["boxes"][first["scores"].argmax()])
    assert float(bank.image_scores[0]) == pytest.approx(float(first["scores"].max()), abs=1e-4)
    assert "decoded as torchvision" in bank.provenance.remarks[0]
    assert float(bank.scores.std()) > 0
    assert len(second["scores"]) != len(first["scores"])


def test_the_losses_of_training_are_refused() -> None:
    losses = {"loss_classifier": torch.tensor(1.5), "loss_box_reg": torch.tensor(0.5)}
    with pytest.raises(scorecam.ScorecamError, match="training losses"):
        decoder_for(RawOutput(losses, (100, 140)), None)


def test_masks_and_key_points_in_a_recorded_output_are_ignored() -> None:
    """The shapes that Mask R-CNN and Keypoint R-CNN return, with two boxes and one."""
    output = [
        {
            "boxes": torch.tensor([[10.2, 20.4, 60.1, 90.3], [70.0, 5.5, 130.7, 44.1]]),
            "labels": torch.tensor([1, 18]),
            "scores": torch.tensor([0.9987, 0.0612]),
            "masks": torch.zeros(2, 1, 100, 140),
        },
        {
            "boxes": torch.tensor([[30.0, 30.0, 50.0, 60.0]]),
            "labels": torch.tensor([1]),
            "scores": torch.tensor([0.7]),
            "keypoints": torch.zeros(1, 17, 3),
            "keypoints_scores": torch.zeros(1, 17),
        },
    ]
    decoder = decoder_for(RawOutput(output, (100, 140)), None)
    found = decoder.decode(output)
    assert found.boxes.shape == (2, 2, 4)
    person = found.probability_of(torch.tensor([1]))[:, 0]
    assert torch.allclose(person, torch.tensor([[0.9987, 0], [0.7, 0]]))
