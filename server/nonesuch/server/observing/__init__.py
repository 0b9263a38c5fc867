"""Who watches a server: metrics, traces and logs."""
