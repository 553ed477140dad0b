"""Models in files of OpenVINO, TFLite and ONNX, run by OpenVINO."""
