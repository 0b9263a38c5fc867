"""Serving benchmarks: a real server in a process of its own, closed and open loops, saturation, MLPerf LoadGen."""
