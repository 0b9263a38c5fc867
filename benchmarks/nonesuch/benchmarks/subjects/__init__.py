"""The subjects: our backends, PyTorch in its forms, and the default model's own network in OpenVINO."""
