"""TensorRT plans: building them from an artifact's graphs, keeping them safely, and running them as a `backend`."""
