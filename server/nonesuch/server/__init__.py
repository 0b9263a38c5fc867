"""A core that makes images, and wires round it: gRPC, HTTP and the Open Inference Protocol."""
