"""The queue in front of a device: admission, batches, runs, and what they will take."""
