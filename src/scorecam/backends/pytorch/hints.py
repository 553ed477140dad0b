"""What a network's own error most likely means."""

from __future__ import annotations

from torch import nn

from scorecam.errors import ModelError
from scorecam.shapes import Images

SAID = 250
"""Characters of a foreign error that are passed on."""


def failed(error: Exception, images: Images, module: nn.Module) -> ModelError:
    """The error for a network that raised one of its own."""
    said = " ".join(str(error).split())
    likely, do = _cause(said, module)
    shown = said if len(said) <= SAID else f"{said[:SAID]}…"
    return ModelError(
        f"The model failed on {len(images)} images of shape {tuple(images.shape[1:])}: "
        f"{type(error).__name__}: {shown}",
        likely=likely,
        do=do,
    )


def _cause(said: str, module: nn.Module) -> tuple[str, str]:
    """What is likely, and what to do."""
    tensors = [*module.parameters(), *module.buffers()]
    if any(tensor.is_meta for tensor in tensors):
        return (
            "Some of its weights are on the device 'meta', where tensors hold no numbers.",
            "Load its weights first.",
        )
    if len({tensor.device for tensor in tensors}) > 1:
        return (
            "Its parts are on several devices.",
            "Put it on one: net.to(device), or open_model(net, device=...).",
        )
    if "quantized" in said.lower():
        return (
            "A quantised network computes in integers between its QuantStub and its DeQuantStub.",
            "Check that model(x) itself works on float32 images of this shape.",
        )
    if len({tensor.dtype for tensor in tensors if tensor.is_floating_point()}) > 1:
        return (
            "Its parts are in several precisions.",
            "Convert it to one, such as net.float(), or check that model(x) itself works.",
        )
    if "not implemented for" in said and "Half" in said:
        return ("This device cannot compute in half precision.", "Use net.float().")
    return (
        "The input may have another number of colours or another size than the model takes.",
        "Check that model(x) itself works on such a batch.",
    )
