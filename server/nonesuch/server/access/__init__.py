"""Who may call, how much, and what is known of each call: keys, limits, charging, the gate, call records."""
