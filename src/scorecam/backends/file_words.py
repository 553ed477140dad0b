"""Words about files of networks for help texts, which must not wait for torch."""

from typing import Final

NETWORK: Final = "NET.onnx"
NETWORK_HELP: Final = "An ONNX file. It is not changed."
