"""Which methods a model can run: some need gradients."""

from __future__ import annotations

from collections.abc import Sequence

from scorecam.base.wording import excerpt
from scorecam.errors import SettingError
from scorecam.methods.differentiable import WITHOUT_GRADIENTS
from scorecam.methods.method import Method
from scorecam.model.model import Model, WhiteBox


def runnable(methods: Sequence[Method], model: Model) -> tuple[list[Method], list[str]]:
    """The methods that the model can run, and a remark if some are left out.

    Raises:
        SettingError: all methods need gradients, and the model has none.
    """
    left_out = [] if isinstance(model, WhiteBox) else [each for each in methods if each.gradients]
    if not left_out:
        return list(methods), []
    names = ", ".join(method.name for method in left_out)
    needs = "needs" if len(left_out) == 1 else "need"
    why = f"{excerpt(names, 200)} {needs} gradients, and {excerpt(model.spec)} gives none"
    kept = [method for method in methods if method not in left_out]
    if not kept:
        raise SettingError(
            f"{why}, so no method is left.",
            likely="The backend that runs the model only returns activations and scores.",
            do=f"With methods= (--methods), give methods without gradients: {WITHOUT_GRADIENTS}.",
        )
    return kept, [f"{why}: left out."]
