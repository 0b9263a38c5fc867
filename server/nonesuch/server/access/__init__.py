"""Access control and accounting: keys, rate limits, charging, the call gate, call records."""
