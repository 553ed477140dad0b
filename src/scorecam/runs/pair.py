"""Why two images are similar: each explained with the other as the reference."""

from __future__ import annotations

from typing import Any

from torch import nn

from scorecam.backends.opening import as_model
from scorecam.budget.plan import BudgetSpec
from scorecam.cam import Variant
from scorecam.explainer import explain
from scorecam.explanation.explanation import Explanation
from scorecam.model.model import Model
from scorecam.model.readout import Readout
from scorecam.tasks.similar import Similar


def explain_pair(
    model: Model | nn.Module,
    one: Any,
    other: Any,
    *,
    embedding: int | str | Readout | None = None,
    layer: str | nn.Module | None = None,
    variant: str | Variant = "auto",
    budget: BudgetSpec = "exact",
    runtime: str = "auto",
) -> tuple[Explanation, Explanation]:
    """Explain the cosine of two images' embeddings: which parts of each make them similar.

    Both explanations have the same score. In each, one image is masked and the other is not. For
    the other settings, call `explain` twice with `scorecam.tasks.Similar(reference=...)`.

    Args:
        model: from `open_model`, or a `torch.nn.Module`; it returns embeddings.
        one, other: photos (a path, a PIL image or an array) or preprocessed tensors, `c *i`. They
            may differ in size if the network allows it.
        embedding: where the embedding is in the output: an index, a name, or a function of the
            output; None to find it.
        layer, variant, budget, runtime: see `explain`.

    Returns:
        The explanation of `one`, and that of `other`.

    Raises:
        TargetError: there is no embedding in the output, or it has the length 0.
        PhotoError, ModelError, LayerError, SettingError, MemoryShortage: see `explain`.
    """
    opened = as_model(model)

    def explained(image: Any, reference: Any) -> Explanation:
        return explain(
            opened,
            image,
            layer=layer,
            variant=variant,
            budget=budget,
            runtime=runtime,
            task=Similar(reference=reference, embedding=embedding),
        )

    return explained(one, other), explained(other, one)
