"""Measurements that a user can repeat: each states its limits, prints the machine, and stores what it saw as JSON."""
