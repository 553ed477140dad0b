"""DETR and RT-DETR of transformers, small and with random weights, run for real."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
from scorecam.tasks import Detect

pytestmark = pytest.mark.needs("families")

SIZE = 64, 96
IMAGE = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))


def detr() -> nn.Module:
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

    config = DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=ResNetConfig(**BACKBONE, out_features=["stage4"]),
        **{f"{part}_layers": 1 for part in ("encoder", "decoder")},
        **{f"{part}_attention_heads": 2 for part in ("encoder", "decoder")},
        **{f"{part}_ffn_dim": 16 for part in ("encoder", "decoder")},
        d_model=16,
        num_queries=6,
        num_labels=3,
    )
    return seeded(DetrForObjectDetection, config)


def rt_detr() -> nn.Module:
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

    stages = ["stage2", "stage3", "stage4"]
    config = RTDetrConfig(
        backbone_config=RTDetrResNetConfig(**BACKBONE, out_features=stages),
        **{f"{part}_attention_heads": 2 for part in ("encoder", "decoder")},
        **{f"{part}_ffn_dim": 16 for part in ("encoder", "decoder")},
        encoder_in_channels=[8, 16, 16],
        decoder_in_channels=[16, 16, 16],
        encoder_hidden_dim=16,
        d_model=16,
        decoder_layers=1,
        num_queries=10,
        num_denoising=0,
        num_labels=3,
        use_timm_backbone=False,
    )
    return seeded(RTDetrForObjectDetection, config)


BACKBONE: dict[str, Any] = {
    "embedding_size": 8,
    "hidden_sizes": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}


def seeded(kind: Any, config: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(config).eval()


def corners(boxes: Tensor) -> Tensor:
    """The boxes of queries in pixels."""
    x, y, width, height = boxes.unbind(-1)
    rows = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], -1)
    return rows * torch.tensor([SIZE[1], SIZE[0], SIZE[1], SIZE[0]])


@pytest.mark.parametrize(
    ("build", "name", "probabilities"),
    [
        (detr, "detr", lambda logits: logits.softmax(-1)[..., :-1]),
        (rt_detr, "rt-detr", lambda logits: logits.sigmoid()),
    ],
)
def test_queries_of_transformers_become_boxes(build: Any, name: str, probabilities: Any) -> None:
    network = build()
    with torch.no_grad():
        output = network(IMAGE[None])
    expected = probabilities(output.logits)[0]
    threshold = float(expected.flatten().sort(descending=True).values[4])
    explanation = scorecam.explain(network, IMAGE, task=Detect(threshold=threshold))
    bank = explanation.bank
    assert f"decoded as {name}, with" in bank.provenance.remarks[0]
    assert len(bank.names or ()) == 4
    best = int(expected.amax(-1).argmax())
    assert bank.boxes is not None
    assert torch.allclose(bank.boxes[0], corners(output.pred_boxes)[0, best], atol=1e-3)
    # Another query may propose nearly the same box with a higher probability.
    assert float(bank.image_scores[0]) >= float(expected.max()) - 1e-5
    assert explanation.heatmap.shape == SIZE
    assert float(bank.scores.max() - bank.scores.min()) > 0


def test_boxes_of_queries_are_explained_without_suppression() -> None:
    """The queries of a random DETR propose nearly the same box."""
    bank = scorecam.explain(detr(), IMAGE, task=Detect(threshold=0)).bank
    assert len(bank.names or ()) == 18


def test_class_names_of_the_configuration_name_the_boxes() -> None:
    network = scorecam.open_model(detr(), labels=["cat", "dog", "bird"], task=Detect(threshold=0))
    bank = scorecam.ScoreCAM(network).bank(IMAGE, "bird")
    assert {name.split()[0] for name in bank.names or ()} == {"cat", "dog", "bird"}


def test_training_mode_makes_no_difference() -> None:
    network = detr()
    usual = scorecam.explain(network, IMAGE, task=Detect(threshold=0))
    network.train()
    again = scorecam.explain(network, IMAGE, task=Detect(threshold=0))
    assert torch.equal(again.bank.scores, usual.bank.scores)
    assert network.training
