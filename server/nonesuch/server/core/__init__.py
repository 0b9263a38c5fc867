"""The core: requests, models, queue and cache. It imports neither a protocol nor a metrics library."""
