"""Builders of ONNX graphs, one a network family: no tracing, no torch."""
