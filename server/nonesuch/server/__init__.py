"""The server: a core that makes images, and its protocols gRPC, HTTP and Open Inference Protocol."""
