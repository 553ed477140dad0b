"""Which models can be saved with a heatmap."""

from __future__ import annotations

from scorecam.backends.branches.site import Site
from scorecam.backends.onnx.site import is_onnx_file, onnx_site
from scorecam.base.wording import quoted
from scorecam.errors import ModelError
from scorecam.model.model import Model
from scorecam.shapes import Images


def site_of(model: Model, images: Images, layer: str | None) -> Site:
    """The place for a branch.

    Args:
        model: a network in a file.
        images: `1 c *i`, preprocessed.
        layer: by name; None for the default.

    Raises:
        ModelError: the model is no such file, or its graph cannot have the branch.
        LayerError: there is no such layer, or it has no grid that a branch can read.
    """
    site = onnx_site(model, images, layer)
    if site is None:
        raise _no_file(model)
    return site


def check_file(model: Model) -> None:
    """Refuse a model without a file to which a branch can be added.

    Raises:
        ModelError: it is such a model.
    """
    if not is_onnx_file(model):
        raise _no_file(model)


def _no_file(model: Model) -> ModelError:
    return ModelError(
        f"{quoted(model.spec)} is no ONNX file, so no heatmap can be added to its graph.",
        likely="It is a network in PyTorch or in another format.",
        do='Export it with torch.onnx.export first: torch.onnx.export(net, (x,), "net.onnx", '
        "dynamo=True). Then give net.onnx.",
    )
