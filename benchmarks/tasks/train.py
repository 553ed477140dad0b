"""Train the detector of the rendered scenes, and write its weights.

    python -m benchmarks.tasks.train                 # about ten minutes on one core
    python -m benchmarks.tasks.train --check         # average precision of the stored weights

Every object belongs to the level that fits its longest side; the cells near its centre answer.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.tasks.network import WEIGHTS, Yolo, anchors, trained
from benchmarks.tasks.scenes import SIZE, Scene, render

LONGEST = (36.0, 72.0, 1e9)
"""The longest side of the objects of each level."""

BATCH, RATE = 32, 3e-3


def batch_of(scenes: list[Scene]) -> Tensor:
    """Images `b 3 h w` in [0, 1]."""
    stacked = torch.from_numpy(np.stack([scene.image for scene in scenes]))
    return stacked.permute(0, 3, 1, 2).float().div(255).contiguous()


def targets(scenes: list[Scene]) -> tuple[Tensor, Tensor]:
    """For every anchor the class, -1 for none, `b m`, and the box, `b m 4`."""
    points, strides = anchors(*SIZE)
    classes = torch.full((len(scenes), points.shape[1]), -1)
    boxes = torch.zeros(len(scenes), points.shape[1], 4)
    for i, scene in enumerate(scenes):
        for box, kind in zip(torch.from_numpy(scene.boxes), scene.classes, strict=True):
            side = float((box[2:] - box[:2]).max())
            level = next(j for j, longest in enumerate(LONGEST) if side < longest)
            middle = (box[:2] + box[2:]) / 2
            near = (points - middle[:, None]).abs().amax(0) < 1.01 * strides
            inside = ((points > box[:2, None]) & (points < box[2:, None])).all(0)
            own = near & inside & (strides == 8 * 2**level)
            classes[i, own] = int(kind)
            boxes[i, own] = box
    return classes, boxes


def loss_of(raw: Tensor, classes: Tensor, boxes: Tensor) -> Tensor:
    """Generalised IoU of the boxes, and cross-entropy of the classes with the IoU as its target."""
    points, strides = anchors(*SIZE)
    chosen = classes >= 0
    sides = raw[:, :4].clamp(-6, 4).exp() * strides
    found = torch.cat([points - sides[:, :2], points + sides[:, 2:]], 1).transpose(1, 2)[chosen]
    overlap, general = _overlaps(found, boxes[chosen])
    wanted = torch.zeros_like(raw[:, 4:])
    rows, anchor = chosen.nonzero(as_tuple=True)
    wanted[rows, classes[chosen], anchor] = overlap.detach().clamp(min=0).to(wanted)
    entropy = functional.binary_cross_entropy_with_logits(raw[:, 4:], wanted, reduction="sum")
    count = max(1, int(chosen.sum()))
    return entropy / count + 2 * (1 - general).sum() / count


def _overlaps(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU of pairs of boxes."""
    shared = (
        (torch.minimum(one[:, 2:], other[:, 2:]) - torch.maximum(one[:, :2], other[:, :2]))
        .clamp(min=0)
        .prod(1)
    )
    both = (one[:, 2:] - one[:, :2]).prod(1) + (other[:, 2:] - other[:, :2]).prod(1) - shared
    hull = (torch.maximum(one[:, 2:], other[:, 2:]) - torch.minimum(one[:, :2], other[:, :2])).prod(
        1
    )
    overlap = shared / both
    return overlap, overlap - (hull - both) / hull


def train(steps: int, seed: int = 0) -> Yolo:
    """The trained network; the scenes differ in every step."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = Yolo().train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RATE, total_steps=steps, pct_start=0.1
    )
    began, shown = time.perf_counter(), 0.0
    for step in range(steps):
        scenes = [render(rng) for _ in range(BATCH)]
        images = batch_of(scenes).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            raw = network.raw(images)
        loss = loss_of(raw.float(), *targets(scenes))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        shown = 0.95 * shown + 0.05 * float(loss) if step else float(loss)
        if step % 50 == 49:
            print(f"{step + 1}: loss {shown:.2f}, {time.perf_counter() - began:.0f} s", flush=True)
            save(network)
    return network.eval()


def save(network: Yolo) -> None:
    """The weights in float16."""
    state = {
        name: value.half().contiguous()
        for name, value in network.state_dict().items()
        if value.is_floating_point()
    }
    safetensors.torch.save_file(state, WEIGHTS)


@torch.inference_mode()
def quality(network: Yolo, count: int = 200, seed: int = 1_000_000) -> dict[str, float]:
    """The shares of the objects that are found, and found with the right class."""
    rng, found, right, extra, total = np.random.default_rng(seed), 0, 0, 0, 0
    for _ in range(count):
        scene = render(rng)
        boxes, classes, _scores = kept(network(batch_of([scene]))[0])
        truth = torch.from_numpy(scene.boxes)
        total += len(truth)
        overlaps = overlaps_of(truth, boxes)
        for row, kind in zip(overlaps, scene.classes, strict=True):
            best = int(row.argmax()) if len(row) else -1
            if best >= 0 and row[best] > 0.5:
                found += 1
                right += int(classes[best]) == int(kind)
        extra += int((overlaps.amax(0) <= 0.5).sum()) if len(boxes) else 0
    return {
        "objects": total,
        "found": found / total,
        "found with the right class": right / total,
        "other boxes per object": extra / total,
    }


def kept(
    output: Tensor, least: float = 0.3, most_overlap: float = 0.6
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, classes and probabilities after non-maximum suppression over all classes."""
    scores, classes = output[4:].max(0)
    centre, size = output[:2], output[2:4]
    boxes = torch.cat([centre - size / 2, centre + size / 2]).T
    order = [int(i) for i in scores.argsort(descending=True) if scores[i] >= least]
    chosen: list[int] = []
    for i in order:
        if not chosen or overlaps_of(boxes[i][None], boxes[chosen]).max() < most_overlap:
            chosen.append(i)
    return boxes[chosen], classes[chosen], scores[chosen]


def overlaps_of(one: Tensor, other: Tensor) -> Tensor:
    """IoU of every box with every other, `n m`."""
    shape = (len(one), len(other), 4)
    first, second = one[:, None].expand(shape), other[None].expand(shape)
    return _overlaps(first.reshape(-1, 4), second.reshape(-1, 4))[0].reshape(shape[:2])


def main() -> None:
    """Train, or measure what is stored."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.check:
        save(train(options.steps))
    print(json.dumps(quality(trained())))


if __name__ == "__main__":
    main()
