"""The likely causes of errors that a network raises."""

from __future__ import annotations

import inspect
import re

from torch import nn

from scorecam.backends.inputs.belonging import GENERAL
from scorecam.errors import ModelError, ScorecamError, SettingError
from scorecam.shapes import Images

LONGEST_QUOTE = 250
"""The most characters of a foreign error that are repeated."""


CAUSES = (
    (
        "Guard failed|Expected input at",
        "The program was exported for another shape of its input.",
        "Give an image of that shape, or export it again with dynamic_shapes=.",
    ),
    (
        "kwarg keyword mismatch|flat args adapter",
        "The program was exported with its inputs passed in another way.",
        "Pass them as in torch.export.export: a list for inputs in order, a dict for names.",
    ),
    (
        'missing the required "forward"',
        "It holds a network, as an average of weights or a training loop does.",
        "Pass the network inside it, such as ema.module or lightning_module.model.",
    ),
    (
        "quantized",
        "A quantised network computes in integers between its QuantStub and its DeQuantStub.",
        "Check that model(x) itself works on float32 images of this shape.",
    ),
)
"""Patterns in an error's text, the likely cause, and what to do."""


def failed(error: Exception, images: Images, module: nn.Module) -> ModelError:
    """The error for a network that raised an exception."""
    text = " ".join(_own_words(str(error)).split())
    likely, do = _wrong_arguments(text, module) or _cause(text, module)
    shown = text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"
    return ModelError(
        f"The model failed on {len(images)} images of shape {tuple(images.shape[1:])}: "
        f"{type(error).__name__}: {shown}",
        likely=likely,
        do=do,
    )


def _own_words(text: str) -> str:
    """An error's text; of the TorchScript interpreter, the error itself without its traceback."""
    if "TorchScript interpreter" not in text:
        return text
    errors: list[str] = re.findall(r"^(?:\w+Error: )+(\S.*)$", text, re.MULTILINE)
    return errors[-1] if errors else text


def own_fault(error: ScorecamError, *, more_axes: bool) -> bool:
    """Whether the user's code failed for another reason than the number of axes.

    Args:
        more_axes: whether the input has more axes than usual.
    """
    wrong_axes = re.search(r"[Ee]xpected [^.]*\b[1-5]D\b", error.what) is not None
    return isinstance(error, SettingError) or (more_axes and not wrong_axes)


def _wrong_arguments(text: str, module: nn.Module) -> tuple[str, str] | None:
    """The cause if an input is missing, or is one too many; else None."""
    if not re.search("required positional argument|arguments? but|unexpected keyword", text):
        return None
    try:
        names = ", ".join(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):
        names = "of its forward method"
    do = (
        "Pass all that it needs, in order or by name: scorecam.explain(model, (x, y)) or "
        'scorecam.explain(model, {"x": x, "y": y}), each with a batch axis.'
    )
    return f"The network takes the inputs {names}.", do


def _cause(text: str, module: nn.Module) -> tuple[str, str]:
    """The likely cause, and what to do."""
    tensors = [*module.parameters(), *module.buffers()]
    if any(tensor.is_meta for tensor in tensors):
        return (
            "Some of its weights are on the device 'meta', where tensors have no values.",
            "Load its weights first.",
        )
    if len({tensor.device for tensor in tensors}) > 1:
        return (
            "Its parts are on several devices.",
            "Move it to one: net.to(device), or open_model(net, device=...).",
        )
    for pattern, likely, do in CAUSES:
        if re.search(pattern, text, re.IGNORECASE):
            return likely, do
    if len({tensor.dtype for tensor in tensors if tensor.is_floating_point()}) > 1:
        return (
            "Its parts are in several precisions.",
            "Convert it to one, such as net.float(), or check that model(x) itself works.",
        )
    if "not implemented for" in text and "Half" in text:
        return ("This device cannot compute in half precision.", "Use net.float().")
    return GENERAL
