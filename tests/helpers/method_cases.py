"""A case that every method can explain, and its heatmap."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

import scorecam
from scorecam.methods.method import Case
from scorecam.methods.names import parse_methods
from scorecam.model.model import Model
from scorecam.model.offers import unconverted
from scorecam.model.scorer import Scorer


def case_of(  # noqa: PLR0917
    network: nn.Module | Model,
    image: Tensor,
    target: int = 0,
    layer: str | None = None,
    seed: int = 0,
    head: Any = "auto",
) -> Case:
    """A case for a network without conversion; its bank is computed on demand."""
    model = scorecam.open_model(network, head=head) if isinstance(network, nn.Module) else network
    name = model.find_layer(layer, image[None])
    plain = unconverted(model)
    return Case(
        model,
        image,
        target=target,
        layer=name,
        make_bank=lambda: scorecam.ScoreCAM(model, name, runtime=plain.runtime).bank(image),
        make_scorer=lambda: Scorer(model, image, speed=plain),
        seed=seed,
    )


def heatmap(name: str, case: Case) -> Tensor:
    (method,) = parse_methods(name)
    return method.heatmap(case)
