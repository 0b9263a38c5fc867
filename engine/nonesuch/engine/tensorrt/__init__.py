"""TensorRT plans: builds them from an artifact's graphs, stores them safely, and runs them as a `backend`."""
