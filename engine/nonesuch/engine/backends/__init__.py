"""Backends, which render an artifact's graph. `registry` finds them, `backend` defines their interface."""
