"""Serving benchmarks: real servers in processes of their own, and the load generator that all of them are asked by."""
