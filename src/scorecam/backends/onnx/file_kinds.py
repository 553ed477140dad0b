"""What a file is that is not an ONNX file, judged by its first bytes."""

from __future__ import annotations

import json

_STARTS = (
    (b"version https://git-lfs", "It is a pointer of Git LFS, not the file.", "Run: git lfs pull"),
    (b"PK\x03\x04", "It is a zip file: a PyTorch checkpoint, TorchScript or a Keras model.", ""),
    (b"\x89HDF", "It is an HDF5 file, such as a Keras model.", ""),
    (b"\x80\x02", "It is a pickle, such as an old PyTorch checkpoint.", ""),
    (b"\x1f\x8b", "It is compressed with gzip.", "Unpack it: gunzip FILE"),
    (b"<?xml", "It is XML, such as a model of OpenVINO.", ""),
    (b"<net", "It is XML, such as a model of OpenVINO.", ""),
    (b"<", "It is a web page: the download may have failed.", "Download it again."),
    (b"\xed\xde\xad\xbe", "It is a program of ncnn or another format.", ""),
)


def looks_like(start: bytes) -> tuple[str, str]:
    """What a file with this start probably is, and advice; empty texts if that is unknown."""
    for prefix, likely, advice in _STARTS:
        if start.startswith(prefix):
            return likely, advice
    if start[4:8] == b"TFL3":
        return "It is a TFLite model.", ""
    if start[4:8] == b"ORTM":
        return "It is a model in ONNX Runtime's own format.", "Give the ONNX file it is made from."
    if start[8:9] == b"{":
        return "It is a safetensors file, which has weights but no network.", ""
    if _is_json(start):
        return "It is a JSON file.", ""
    return "", ""


def _is_json(start: bytes) -> bool:
    text = start.strip()
    try:
        json.JSONDecoder().raw_decode(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return text.startswith((b'{"', b'[{"'))
    return bool(text)
