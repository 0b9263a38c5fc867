"""The `nonesuch` command, composed from the other portions."""
