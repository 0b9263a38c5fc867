"""The HTTP gateway: the same service over another wire."""
