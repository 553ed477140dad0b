"""The likely causes of errors that a network raises."""

from __future__ import annotations

from torch import nn

from scorecam.errors import ModelError
from scorecam.shapes import Images

LONGEST_QUOTE = 250
"""The most characters of a foreign error that are repeated."""


def failed(error: Exception, images: Images, module: nn.Module) -> ModelError:
    """The error for a network that raised an exception."""
    text = " ".join(str(error).split())
    likely, do = _cause(text, module)
    shown = text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"
    return ModelError(
        f"The model failed on {len(images)} images of shape {tuple(images.shape[1:])}: "
        f"{type(error).__name__}: {shown}",
        likely=likely,
        do=do,
    )


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
    if "quantized" in text.lower():
        return (
            "A quantised network computes in integers between its QuantStub and its DeQuantStub.",
            "Check that model(x) itself works on float32 images of this shape.",
        )
    if len({tensor.dtype for tensor in tensors if tensor.is_floating_point()}) > 1:
        return (
            "Its parts are in several precisions.",
            "Convert it to one, such as net.float(), or check that model(x) itself works.",
        )
    if "not implemented for" in text and "Half" in text:
        return ("This device cannot compute in half precision.", "Use net.float().")
    return (
        "The model may expect another number of colours or another image size.",
        "Check that model(x) itself works on such a batch.",
    )
