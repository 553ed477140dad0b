"""Detectors and segmenters of Hugging Face open from a folder, and name the task for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import scorecam
from scorecam.tasks import Detect, Segment

SIZE = 32, 48
"""Height and width of the images."""


def yolos() -> Any:
    from transformers import YolosConfig, YolosForObjectDetection

    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=list(SIZE),
        patch_size=8,
        num_detection_tokens=5,
        num_labels=3,
        id2label={0: "cat", 1: "dog", 2: "bird"},
        label2id={"cat": 0, "dog": 1, "bird": 2},
    )
    return YolosForObjectDetection(config)


def segformer() -> Any:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        num_labels=3,
        id2label={0: "sky", 1: "road", 2: "tree"},
        label2id={"sky": 0, "road": 1, "tree": 2},
    )
    return SegformerForSemanticSegmentation(config)


@pytest.mark.parametrize(
    ("build", "task", "options"),
    [
        (yolos, "detect", Detect(decode="detr", threshold=0.05)),
        (segformer, "segment", Segment()),
    ],
)
def test_a_folder_gives_the_map_of_its_network_and_names_the_task(
    build: Any, task: str, options: Any, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network: nn.Module = build().eval()
    network.save_pretrained(tmp_path)  # pyright: ignore[reportCallIssue]
    image = torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(1))

    model = scorecam.open_model(f"hf:{tmp_path}")
    found = scorecam.explain(model, image, task=options)
    own = scorecam.explain(network, image, task=options)

    assert f"--task {task}" in " ".join(model.remarks)
    assert found.target.name.split()[0] in network.config.id2label.values()
    torch.testing.assert_close(found.bank.image_scores, own.bank.image_scores)
    torch.testing.assert_close(found.heatmap, own.heatmap)
