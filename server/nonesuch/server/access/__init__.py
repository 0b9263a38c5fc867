"""Who may call, how much, and over what: keys, limits, TLS."""
