"""The queue of a device: admission, batches, runs and predicted durations."""
