"""Gradient-based class activation maps, computed by torchcam (github.com/frgfm/torch-cam, 0.5).

The maps are torchcam's own, not scaled, on the layer's grid. They are upsampled as in Score-CAM.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from scorecam.base import quiet_matplotlib
from scorecam.base.interpolation import upsample
from scorecam.io.extras import require
from scorecam.methods.declared import DeclaredMethod
from scorecam.methods.differentiable import differentiated, finished, hooked, not_finite
from scorecam.methods.method import Case
from scorecam.shapes import BatchedActivations, Heatmap


def _torchcam() -> Any:
    quiet_matplotlib.prepare()
    return require("torchcam.methods", "eval", "compute this method")


@dataclass(frozen=True)
class GradientCAM(DeclaredMethod):
    """ReLU(Σ_k w_k A_k), upsampled; w comes from the gradient of z_t at the layer.

    Args:
        name: as users write it.

    Attributes:
        torchcam_name: the name of the method's class in torchcam.
    """

    gradients = True
    torchcam_name: ClassVar[str]
    fixed: ClassVar[Mapping[str, object]] = {
        "differentiated": "z_t",
        "upsampling": "linear, half-pixel",
    }

    def heatmap(self, case: Case) -> Heatmap:
        extractor_of = getattr(_torchcam(), self.torchcam_name)
        name, maps_in = hooked(case, self.name)
        maps = _Maps(maps_in)
        with differentiated(case, self.name) as (column, network, images):
            layer = network.get_submodule(name)
            with extractor_of(column, layer, reshape_transform=maps) as extractor:
                # This hook runs after torchcam's own. The rest of the network gets a copy, so that
                # it cannot write into the activations that torchcam keeps.
                copying = layer.register_forward_hook(_copy)
                try:
                    scores = column(images)[:, None]
                    raw = extractor(class_idx=0, scores=scores, normalized=False)[0]
                finally:
                    copying.remove()
            maps.check(self.name)
            return finished(upsample(raw.float(), case.image.shape[1:])[0], case, self.name)


@dataclass(frozen=True)
class GradCAM(GradientCAM):
    """w_k is the mean gradient of channel k."""

    kind = "gradcam"
    torchcam_name = "GradCAM"
    source = "Selvaraju et al., ICCV 2017; torchcam's GradCAM"


@dataclass(frozen=True)
class GradCAMPlusPlus(GradientCAM):
    """w_k is a weighted mean of the positive gradients of channel k."""

    kind = "gradcam++"
    torchcam_name = "GradCAMpp"
    source = "Chattopadhay et al., WACV 2018; torchcam's GradCAMpp"


@dataclass(frozen=True)
class XGradCAM(GradientCAM):
    """w_k is the mean of the gradients of channel k, weighted by its activations."""

    kind = "xgradcam"
    torchcam_name = "XGradCAM"
    source = "Fu et al., BMVC 2020; torchcam's XGradCAM"


@dataclass(frozen=True)
class LayerCAM(GradientCAM):
    """Each cell has a weight of its own: its positive gradient."""

    kind = "layercam"
    torchcam_name = "LayerCAM"
    source = "Jiang et al., TIP 2021; torchcam's LayerCAM"


def _copy(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    return output.clone() if isinstance(output, Tensor) else output


class _Maps:
    """The maps in a layer's output and in its gradient, `b k *g`, as torchcam needs them.

    Args:
        maps_in: finds them.
    """

    def __init__(self, maps_in: Callable[[Tensor], BatchedActivations]) -> None:
        self._maps_in = maps_in
        self._finite = True

    def __call__(self, output: Tensor) -> BatchedActivations:
        self._finite = self._finite and bool(output.isfinite().all())
        return self._maps_in(output)

    def check(self, method: str) -> None:
        """Refuse NaN and infinity, which torchcam would ignore.

        Raises:
            ModelError: the output or its gradient was not finite.
        """
        if not self._finite:
            raise not_finite(method)


METHODS: tuple[type[DeclaredMethod], ...] = (GradCAM, GradCAMPlusPlus, XGradCAM, LayerCAM)
"""The methods of this file."""
