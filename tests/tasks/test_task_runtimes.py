"""Tasks score masked images in faster runtimes, which convert a network once for all images."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import scorecam
from scorecam.model.model import Model, TargetSpec, Task
from scorecam.model.task_columns import TaskColumns
from scorecam.shapes import Images
from stand_in_runtime import Converter, install


@dataclass(frozen=True)
class OwnColumns(Task):
    """Scores the largest two numbers of the unmasked image: other columns for each image."""

    name: ClassVar[str] = "own columns"

    def columns(self, model: Model, images: Images, target: TargetSpec) -> TaskColumns:
        del target
        chosen = numbers_in(model.output(images))[0].topk(2).indices
        return TaskColumns(
            lambda output: numbers_in(output)[:, chosen], ("first", "second"), task=self.name
        )


def numbers_in(output: Any) -> Tensor:
    return output["numbers"] if isinstance(output, dict) else output[0]


class Detector(nn.Module):
    """Returns maps and numbers in a dict, as detectors do.

    Args:
        kind: "dict", "counts" for one more output of whole numbers, or "alone" for one image only.
    """

    def __init__(self, kind: str = "dict") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.maps = nn.Sequential(nn.Conv2d(3, 12, 3, stride=2), nn.ReLU())
        self.head = nn.Conv2d(12, 6, 1)

    def forward(self, images: Tensor) -> Any:
        if self.kind == "alone" and len(images) > 1:
            raise ValueError("one image at a time")
        maps = self.head(self.maps(images))
        numbers = maps.mean((2, 3))
        output = {"maps": maps, "numbers": numbers}
        return output | ({"counts": numbers.long()} if self.kind == "counts" else {})


@pytest.fixture
def converter(monkeypatch: pytest.MonkeyPatch) -> Converter:
    converter = install(monkeypatch)
    converter.copies = False  # a copy would lose how its output is read
    return converter


@pytest.fixture
def photos() -> Tensor:
    return torch.randn(2, 3, 20, 28, generator=torch.Generator().manual_seed(1))


def explained(network: nn.Module, image: Tensor, runtime: str) -> scorecam.Explanation:
    return scorecam.explain(network, image, task=OwnColumns(), runtime=runtime)


def test_two_images_share_one_conversion_and_give_the_networks_own_maps(
    converter: Converter, photos: Tensor
) -> None:
    network = Detector()
    fast = [explained(network, photo, "openvino") for photo in photos]
    own = [explained(network, photo, "eager") for photo in photos]

    assert converter.made == ["float32"]
    assert {each.provenance.runtime for each in fast} == {"openvino"}
    for one, other in zip(fast, own, strict=True):
        torch.testing.assert_close(one.bank.scores, other.bank.scores)
        torch.testing.assert_close(one.scaled, other.scaled, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["counts", "alone"])
def test_an_output_that_is_not_one_row_per_image_runs_in_pytorch_and_says_so(
    converter: Converter, photos: Tensor, kind: str
) -> None:
    cam = scorecam.ScoreCAM(Detector(kind), task=OwnColumns(), runtime="openvino", batch_size=1)
    bank = cam.bank(photos[0])

    assert converter.made == []
    assert bank.provenance.runtime == "eager"
    assert "The readout of the task" in " ".join(bank.provenance.remarks)


def test_every_pass_of_the_network_is_counted(converter: Converter, photos: Tensor) -> None:
    network = Detector()
    passes, lock = [0], threading.Lock()

    def count(_module: nn.Module, inputs: tuple[Tensor]) -> None:
        with lock:
            passes[0] += len(inputs[0])

    network.register_forward_pre_hook(count)
    bank = scorecam.ScoreCAM(network, "maps", task=OwnColumns(), runtime="eager").bank(photos[0])

    assert bank.provenance.forward_passes == passes[0]
    assert converter.made == []
