"""gRPC: nonesuch.v1 on top of the core, health, reflection, TLS, and the listeners for `grpc` and `admin`."""
