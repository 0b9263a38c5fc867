"""Checkpoint -> safetensors + config -> ONNX artifact. Needs no torch; `reference` does."""
