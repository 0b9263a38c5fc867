"""Other ways to serve the same artifact, each in an environment of its own, beside `nonesuch serve`."""
