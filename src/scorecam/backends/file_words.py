"""Words about files of networks for help texts, which must not wait for torch."""

from typing import Final

NETWORK_FILES: Final = ("net.onnx", "net.xml", "net.tflite", "openvino:net.onnx")
"""Files that can be explained, as users write them."""

NETWORK: Final = "NET.onnx"
NETWORK_HELP: Final = "An ONNX file. It is not changed."
NETWORK_SUFFIX: Final = ".onnx"
