"""What serving is, whatever the wire: requests, models, queue and cache. Knows no wire and no metrics library."""
