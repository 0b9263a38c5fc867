"""gRPC over one service object: batcher, limits, health."""
