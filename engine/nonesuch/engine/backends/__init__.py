"""Backends: what turns an artifact's graph into images. `registry` finds them, `backend` says what one is."""
