"""Cases of the Python interface: explanations, banks and the maps of other packages."""

from __future__ import annotations

from typing import Any

import torch
from out import VARIANTS, Out
from torch import Tensor, nn

import networks
import scorecam
from scorecam.compat import official, pytorch_grad_cam, torchcam
from scorecam.testing import Regions, regions

PHOTO = "../../photos/chelsea.jpg"


def lite0_exact(out: Out) -> None:
    model = scorecam.open_model("lite0")
    found = scorecam.explain(model, PHOTO, runtime="openvino")
    for variant in VARIANTS:
        out.explanation(variant, found.of(variant=variant))
        out.tensors[f"{variant} contrast"] = found.bank.contrast("tiger cat", "tabby", variant)
    for place, other in enumerate(found.top(3)):
        out.explanation(f"top {place}", other)
    out.tensors["on photo"] = found.on_photo()
    found.bank.save("bank.safetensors")
    found.bank.save("kept.safetensors", classes=5)
    found.overlay().save("overlay.png")
    found.to_html("page.html")


def lite0_fast(out: Out) -> None:
    model = scorecam.open_model("lite0")
    for variant in VARIANTS:
        found = scorecam.explain(model, PHOTO, variant=variant, budget="fast", runtime="openvino")
        out.explanation(variant, found)
        found.bank.save(f"{variant}.safetensors")
    out.explanation("eager", scorecam.explain(model, PHOTO, budget="fast", runtime="eager"))


def lite0_budgets(out: Out) -> None:
    model = scorecam.open_model("lite0")
    for name, how in (
        ("64", {"budget": 64, "runtime": "openvino"}),
        ("tolerance", {"tolerance": 0.05, "runtime": "openvino"}),
        ("seed", {"budget": 16, "seed": 7, "runtime": "eager", "batch_size": 5}),
        ("bfloat16", {"budget": 16, "precision": "bfloat16", "runtime": "eager"}),
        ("target", {"budget": 16, "target": "Egyptian cat", "runtime": "openvino"}),
    ):
        found = scorecam.explain(model, PHOTO, **how)
        out.explanation(name, found)
        found.bank.save(f"{name}.safetensors")


def lite0_layers(out: Out) -> None:
    model = scorecam.open_model("lite0")
    found = scorecam.layers(model)
    out.values["layers"] = [[e.name, e.grid, e.channels, e.layout, e.default] for e in found]
    for layer in (found[len(found) // 2].name, found[-2].name):
        out.explanation(
            layer, scorecam.explain(model, PHOTO, layer=layer, budget=24, runtime="eager")
        )


def axes(out: Out) -> None:
    for count, shape in ((1, (96,)), (2, (40, 56)), (3, (16, 20, 24))):
        network = networks.seeded(networks.Small, count, 6)
        image = networks.images(3, *shape)
        for budget in ("exact", "fast", 6):
            found = scorecam.explain(network, image, budget=budget, runtime="eager")
            out.explanation(f"{count}-d {budget}", found)
            out.bank(f"{count}-d {budget}", found.bank)
        found.bank.save(f"{count}.safetensors")


def heads(out: Out) -> None:
    ends: dict[str, tuple[int, nn.Module | None, dict[str, Any]]] = {
        "logits": (6, None, {}),
        "sigmoid": (6, None, {"head": "sigmoid"}),
        "sigmoid found": (6, nn.Sigmoid(), {}),
        "probabilities": (6, nn.Softmax(dim=1), {}),
        "value": (4, None, {"head": "value"}),
        "one logit": (1, None, {"labels": ["no", "yes"]}),
        "one value": (1, None, {"head": "value"}),
    }
    for name, (columns, end, how) in ends.items():
        network = networks.seeded(networks.Small, 2, columns, end)
        model = scorecam.open_model(network, **how)
        found = scorecam.explain(model, networks.images(3, 40, 56), runtime="eager")
        out.explanation(name, found)
        out.bank(name, found.bank)
        found.bank.save(f"{name}.safetensors")


def maskings(out: Out) -> None:
    network, image = networks.seeded(networks.Small, 2, 6), networks.images(3, 40, 56)
    for name, how in {
        "fill": {"fill": 0.5},
        "fills": {"fill": (0.1, -0.2, 0.3)},
        "corners": {"align_corners": True},
        "before": {"scale": "before"},
        "epsilon": {"epsilon": 1e-3},
    }.items():
        cam = scorecam.ScoreCAM(network, masking=scorecam.Masking(**how), runtime="eager")
        bank = cam.bank(image)
        out.bank(name, bank)
        bank.save(f"{name}.safetensors")


def readouts(out: Out) -> None:
    record, image = networks.seeded(networks.Record), networks.images(3, 40, 56)
    for output in ("coarse", "fine"):
        model = scorecam.open_model(record, output=output)
        out.explanation(output, scorecam.explain(model, image, runtime="eager"))
    network = networks.seeded(networks.Small, 2, 6)
    found = scorecam.explain(network, image, _contrast, runtime="eager")
    out.explanation("function", found)
    model = scorecam.open_model(network, labels=["a", "b", "c", "d", "e", "f"])
    out.explanation(
        "name", scorecam.explain(model, image, "d", variant="increase", runtime="eager")
    )
    for layer in ("first", "second", network.relu):
        out.explanation(
            f"layer {layer}", scorecam.explain(network, image, layer=layer, runtime="eager")
        )
    out.values["layers"] = [[e.name, e.grid, e.default] for e in scorecam.layers(network, image)]


def _contrast(scores: Tensor) -> Tensor:
    return scores[:, 1] - scores[:, 4]


def openvino(out: Out) -> None:
    network, image = networks.seeded(networks.Small, 2, 6), networks.images(3, 40, 56)
    for budget in ("exact", "fast", 6):
        found = scorecam.explain(network, image, budget=budget, runtime="openvino")
        out.explanation(str(budget), found)


def several_inputs(out: Out) -> None:
    network = networks.seeded(networks.TwoInputs)
    image, numbers = networks.images(2, 3, 40, 56), networks.images(2, 4, seed=2)
    cam = scorecam.ScoreCAM(network, runtime="eager")
    out.tensors["in order"] = cam([image, numbers])
    out.tensors["by name"] = cam({"image": image, "numbers": numbers}, target=[2, None])
    out.bank("bank", cam.bank([image[:1], numbers[:1]]))


def batches(out: Out) -> None:
    network, images = networks.seeded(networks.Small, 2, 6), networks.images(5, 3, 40, 56)
    for variant in VARIANTS:
        cam = scorecam.ScoreCAM(network, layer="relu", variant=variant, runtime="eager")
        out.tensors[f"{variant} predicted"] = cam(images)
        out.tensors[f"{variant} mixed"] = cam(images, target=[3, None, 0, 5, 1])
    for size in (1, 7, 64):
        cam = scorecam.ScoreCAM(network, batch_size=size, budget=8, runtime="eager")
        out.tensors[f"batch size {size}"] = cam(images, target=2)


def known_answers(out: Out) -> None:
    weights = torch.tensor([[3.0, 1, -2], [0.5, 2, 1]])
    for size in ((30,), (8, 9), (4, 5, 6)):
        image = regions((5, 9, 4), *size)
        bank = scorecam.ScoreCAM(Regions(weights, len(size)), "maps", runtime="eager").bank(image)
        out.bank(str(size), bank)
        out.tensors[f"{size} other"] = bank.heatmap(1, "increase")


def compat(out: Out) -> None:
    network, images = networks.seeded(networks.Small, 2, 6), networks.images(2, 3, 40, 56)
    with pytorch_grad_cam.ScoreCAM(network, [network.second, network.relu]) as cam:
        target = pytorch_grad_cam.ClassifierOutputTarget(2)
        out.tensors["grad-cam"] = torch.from_numpy(cam(images))
        out.tensors["grad-cam target"] = torch.from_numpy(cam(images, [target, target]))
        softmax = [lambda output: output.softmax(dim=-1)[..., 1]] * 2
        smooth = cam(images, softmax, aug_smooth=True)
        out.tensors["grad-cam smooth"] = torch.from_numpy(smooth.copy())
    for layer in ("second", "relu"):
        with torchcam.ScoreCAM(network, layer) as extractor:
            scores = network(images[:1])
            out.tensors[f"torchcam {layer}"] = extractor(4, scores)[0]
            out.tensors[f"torchcam {layer} raw"] = extractor(4, scores, normalized=False)[0]
        authors = official.ScoreCAM({"arch": network, "layer_name": layer})
        out.tensors[f"official {layer}"] = authors(images[:1])
        out.tensors[f"official {layer} class"] = authors(images[:1], 3)


def later(out: Out) -> None:
    network, image = networks.seeded(networks.Small, 2, 6), networks.images(3, 40, 56)
    model = scorecam.open_model(network, labels=["a", "b", "c", "d", "e", "f"])
    for budget in ("exact", 6):
        made = scorecam.ScoreCAM(model, budget=budget, runtime="eager").bank(image)
        made.save(f"{budget}.safetensors")
        made.keep(["a", "d"]).save(f"{budget}-kept.safetensors")
        ask_all(out, str(budget), scorecam.ScoreBank.load(f"{budget}.safetensors"))
        kept = scorecam.ScoreBank.load(f"{budget}-kept.safetensors")
        out.tensors[f"{budget} kept"] = kept.contrast("a", "d", "increase")


def ask_all(out: Out, name: str, bank: scorecam.ScoreBank) -> None:
    """Every variant, for every one of the columns that are there (5 at most)."""
    out.bank(name, bank)
    columns = range(len(bank.image_scores)) if bank.columns is None else bank.columns.tolist()
    first, *others = list(columns)[:5]
    for variant in VARIANTS:
        for column in others:
            place = f"{name} {variant} {column}"
            out.tensors[place] = bank.heatmap(column, variant)
            out.tensors[f"{place} weights"] = bank.weights(column, variant)
            out.tensors[f"{place} contrast"] = bank.contrast(
                first, column, variant, (11,) * len(bank.size)
            )
