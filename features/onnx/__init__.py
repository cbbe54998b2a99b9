"""Any audio encoder as an ONNX file that takes a waveform."""
