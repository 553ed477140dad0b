"""Gradients and occlusion, computed by Captum (github.com/pytorch/captum, 0.9).

The maps are Captum's own. Colours are combined into one number per pixel as each method's authors
do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from scorecam.base import quiet_matplotlib
from scorecam.base.process_state import ignore_warnings
from scorecam.base.seeding import SeededDraws
from scorecam.errors import SettingError
from scorecam.io.extras import require
from scorecam.io.ranges import Real, Whole
from scorecam.methods.declared import DeclaredMethod, setting
from scorecam.methods.differentiable import (
    differentiated,
    finished,
)
from scorecam.methods.method import Case
from scorecam.shapes import Columns, Heatmap, Image, Images

BATCH = 10
"""Copies of the image per pass. It is fixed because the random noise depends on it."""


def _captum() -> ModuleType:
    quiet_matplotlib.prepare()
    return require("captum.attr", "eval", "compute this method")


@dataclass(frozen=True)
class Gradient(DeclaredMethod):
    """|∂z_t/∂X|, the largest over the colours."""

    kind = "gradient"
    gradients = True
    source = "Simonyan, Vedaldi, Zisserman, ICLR workshop 2014; Captum's Saliency"
    fixed: ClassVar[Mapping[str, object]] = {"differentiated": "z_t", "colours": "max |.|"}

    def heatmap(self, case: Case) -> Heatmap:
        attr = _captum()
        with differentiated(case, self.name) as (column, _network, images):
            gradient = attr.Saliency(column).attribute(images, abs=False)
            return finished(_largest(gradient), case, self.name)


@dataclass(frozen=True)
class SmoothGrad(DeclaredMethod):
    """The mean gradient over copies of the image with noise; then as `Gradient`.

    Args:
        name: as users write it.
        samples: the number of copies.
        sigma: the noise's standard deviation, relative to the range of the image's values.
    """

    kind = "smoothgrad"
    gradients = True
    source = "Smilkov et al. 2017; Captum's NoiseTunnel of Saliency"
    fixed: ClassVar[Mapping[str, object]] = {"differentiated": "z_t", "colours": "max |.|"}

    samples: int = setting(50, Whole(1, 100_000))
    sigma: float = setting(0.15, Real(0, 1000))

    def heatmap(self, case: Case) -> Heatmap:
        attr = _captum()
        with differentiated(case, self.name) as (column, _network, images):
            spread = float(images.detach().amax() - images.detach().amin())
            with SeededDraws(case.seed):
                gradient = attr.NoiseTunnel(attr.Saliency(column)).attribute(
                    images,
                    nt_type="smoothgrad",
                    nt_samples=self.samples,
                    nt_samples_batch_size=BATCH,
                    stdevs=self.sigma * spread,
                    abs=False,
                )
            return finished(_largest(gradient), case, self.name)


@dataclass(frozen=True)
class IntegratedGradients(DeclaredMethod):
    """The gradient along the line from zeros, times the image, summed over the colours; |·|.

    Zeros are the training mean if inputs are normalised to mean zero.

    Args:
        name: as users write it.
        steps: points on the line (Gauss-Legendre).
    """

    kind = "integrated"
    gradients = True
    source = "Sundararajan, Taly, Yan, ICML 2017; Captum's IntegratedGradients"
    fixed: ClassVar[Mapping[str, object]] = {
        "from": "zeros",
        "rule": "gausslegendre",
        "differentiated": "z_t",
        "colours": "|sum|",
    }

    steps: int = setting(50, Whole(1, 5000))  # the rule takes a matrix of steps × steps

    def heatmap(self, case: Case) -> Heatmap:
        attr = _captum()
        with differentiated(case, self.name) as (column, _network, images):
            credit = attr.IntegratedGradients(column).attribute(
                images, n_steps=self.steps, method="gausslegendre", internal_batch_size=BATCH
            )
            return finished(credit[0].sum(dim=0).abs(), case, self.name)


@dataclass(frozen=True)
class GuidedBackprop(DeclaredMethod):
    """The gradient with negative parts set to 0 at every ReLU; then as `Gradient`.

    Captum changes only `nn.ReLU`. Networks with other rectifiers are refused: the result would be
    the plain gradient, or a mixture.
    """

    kind = "guided"
    gradients = True
    source = "Springenberg et al., ICLR workshop 2015; Captum's GuidedBackprop"
    fixed: ClassVar[Mapping[str, object]] = {"differentiated": "z_t", "colours": "max |.|"}

    def heatmap(self, case: Case) -> Heatmap:
        attr = _captum()
        with differentiated(case, self.name) as (column, network, images):
            _check_rectifiers(column, network, images)
            with ignore_warnings(UserWarning, "Setting backward hooks on ReLU"):
                gradient = attr.GuidedBackprop(column).attribute(images)
            return finished(_largest(gradient), case, self.name)


@dataclass(frozen=True)
class Occlusion(DeclaredMethod):
    """The decrease of the target's probability when a window is hidden, averaged over windows.

    It is signed, and needs no gradient. Hidden pixels are zero, the training mean if inputs are
    normalised.

    Args:
        name: as users write it.
        window: the window's side, relative to the image's.
        stride: the step between windows, relative to the image's side.
    """

    kind = "occlusion"
    source = "Zeiler, Fergus, ECCV 2014; Captum's Occlusion"
    fixed: ClassVar[Mapping[str, object]] = {"fill": 0, "score": "p_t"}

    window: float = setting(0.15, Real(0, 1))
    stride: float = setting(0.05, Real(0, 1))

    def check(self) -> None:
        super().check()
        if self.stride > self.window:
            raise SettingError(
                f"{self.name}: stride={self.stride:g} is more than window={self.window:g}.",
                likely="Pixels between the windows would never be occluded.",
            )

    def heatmap(self, case: Case) -> Heatmap:
        attr = _captum()
        window = _lengths(self.window, case.image)
        stride = tuple(
            min(step, side)  # rounding must not leave gaps
            for step, side in zip(_lengths(self.stride, case.image), window, strict=True)
        )

        def probabilities(images: Images) -> Columns:
            return case.probabilities(images)

        with torch.inference_mode(mode=False):
            images = case.image.detach().to(torch.float32, copy=True)[None]
            colours = images.shape[1]
            drop = attr.Occlusion(probabilities).attribute(
                images,
                sliding_window_shapes=(colours, *window),
                strides=(colours, *stride),
                baselines=0,
                perturbations_per_eval=BATCH,
            )
        return finished(drop[0, 0], case, self.name)


def _largest(gradient: Tensor) -> Heatmap:
    """The largest magnitude over the colours: `1 c *i` to `*i`."""
    return gradient[0].abs().amax(dim=0)


def _lengths(share: float, image: Image) -> tuple[int, ...]:
    """A length relative to each side, in whole pixels, at least one."""
    return tuple(max(1, round(share * side)) for side in image.shape[1:])


# ── rectifiers ───────────────────────────────────────────────────────────────────────────────


_RECTIFIES = {"ReluBackward0", "HardtanhBackward0", "HardtanhBackward1", "LeakyReluBackward0"}
"""The autograd nodes of ReLU, ReLU6 and leaky ReLU."""


def _check_rectifiers(column: nn.Module, network: nn.Module, images: Images) -> None:
    """Refuse a network with other rectifiers than `nn.ReLU`. This takes one pass.

    Raises:
        SettingError: it has another rectifier, or none.
    """
    of_relu_modules: set[Any] = set()

    def record(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        of_relu_modules.add(output.grad_fn)

    handles = [
        module.register_forward_hook(record)
        for module in network.modules()
        if isinstance(module, nn.ReLU)
    ]
    try:
        score = column(images)
    finally:
        for handle in handles:
            handle.remove()
    rectifiers = [node for node in _autograd_nodes(score) if node.name() in _RECTIFIES]
    unchanged = sorted(
        {node.name().partition("Backward")[0] for node in rectifiers if node not in of_relu_modules}
    )
    if unchanged or not rectifiers:
        problem = f"also rectifies by {' and '.join(unchanged)}" if unchanged else "has none"
        raise SettingError(
            f"guided is defined by the ReLUs of a network, and this one {problem}.",
            likely="Captum changes only nn.ReLU modules, not ReLU6 (EfficientNet-Lite, MobileNet) "
            "or torch.relu, for which the result would be the plain gradient.",
            do="Use gradient or smoothgrad.",
        )


def _autograd_nodes(score: Tensor) -> set[Any]:
    """Every autograd node that a score depends on."""
    seen: set[Any] = set()
    ahead: list[Any] = [score.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is not None and node not in seen:
            seen.add(node)
            ahead += [before for before, _ in node.next_functions]
    return seen


METHODS: tuple[type[DeclaredMethod], ...] = (
    Gradient,
    SmoothGrad,
    IntegratedGradients,
    GuidedBackprop,
    Occlusion,
)
"""The methods of this file."""
