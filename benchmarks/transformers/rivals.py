"""Other maps of a vision transformer: attention rollout, and those of grad-cam (PyPI, 1.5.7).

grad-cam explains the module of the layer's name, and its `reshape_transform` is the one of its
documentation: without the class token, as a grid.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from scorecam.base.interpolation import upsample
from scorecam.base.quiet_matplotlib import prepare
from scorecam.methods.method import Case, Method
from scorecam.shapes import Heatmap

PREFIX = 1
"""Tokens before those of the patches: the class token."""

ROLLOUT = {"heads": "mean", "residual": "(A + I)/2", "upsampling": "linear, half-pixel"}
GRAD_CAM = {"reshape_transform": "without the class token, as a grid"}
"""The settings in a run's record."""


def reshape_transform(tokens: Tensor) -> Tensor:
    """`b 1+n k` as `b k u v`, for a square image."""
    patches = tokens[:, PREFIX:]
    side = round(patches.shape[1] ** 0.5)
    return patches.transpose(1, 2).reshape(len(tokens), -1, side, side)


@dataclass(frozen=True, repr=False)
class Rollout(Method):
    """Attention rollout: the product over the blocks of (mean over heads of A + I)/2, from the
    class token to the patches. It does not depend on the class.

    Args:
        network: a timm transformer with `blocks`, each with `attn.qkv`.
    """

    network: nn.Module
    name: str = "rollout"
    source: str = "Abnar and Zuidema, Quantifying attention flow in transformers, ACL 2020"
    settings: Mapping[str, object] = field(default_factory=lambda: dict(ROLLOUT))

    def heatmap(self, case: Case) -> Heatmap:
        with torch.inference_mode():
            attentions = _attentions(self.network, case.image[None])
            same = torch.eye(attentions[0].shape[1])
            flow = same
            for attention in attentions:
                flow = (attention.mean(dim=0) + same) / 2 @ flow
            patches = flow[0, PREFIX:]
            side = round(len(patches) ** 0.5)
            raw = upsample(patches.reshape(1, side, side), tuple(case.image.shape[1:]))[0]
        return raw.clone()


def _attentions(network: nn.Module, images: Tensor) -> list[Tensor]:
    """The attention of each block for one image: `heads n n`."""
    products: list[Tensor] = []
    attentions = [module for name, module in network.named_modules() if name.endswith(".attn")]

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        products.append(output)

    hooks = [module.get_submodule("qkv").register_forward_hook(keep) for module in attentions]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    found: list[Tensor] = []
    for module, product in zip(attentions, products, strict=True):
        heads: Any = module.num_heads
        query, key, _ = product[0].unflatten(1, (3, heads, -1)).permute(1, 2, 0, 3)
        found.append((query @ key.transpose(1, 2) / query.shape[2] ** 0.5).softmax(dim=2))
    return found


@dataclass(frozen=True, repr=False)
class OfGradCam(Method):
    """A map of the package grad-cam, scaled to [0, 1] by it.

    Args:
        network: the network itself; grad-cam only reads it.
        kind: the name of the method's class.
    """

    network: nn.Module
    kind: str
    name: str = field(init=False)
    source: str = "grad-cam 1.5.7"
    settings: Mapping[str, object] = field(default_factory=lambda: dict(GRAD_CAM))

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"grad-cam:{self.kind}")

    def heatmap(self, case: Case) -> Heatmap:
        prepare()
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        layer = self.network.get_submodule(case.layer)
        method = getattr(pytorch_grad_cam, self.kind)
        image = case.image.detach().clone()[None].requires_grad_()
        with (
            _silent(),
            torch.enable_grad(),
            method(self.network, [layer], reshape_transform=reshape_transform) as cam,
        ):
            raw = cam(image, [ClassifierOutputTarget(case.target)])[0]
        return torch.as_tensor(raw).float().clone()


@contextlib.contextmanager
def _silent() -> Generator[None]:
    """grad-cam draws a progress bar for every image."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield
