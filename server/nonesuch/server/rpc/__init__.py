"""gRPC: nonesuch.v1 over the core, health, reflection, TLS, and the listeners of the gRPC and the admin address."""
