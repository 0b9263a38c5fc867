"""Readers of foreign files, one a format. None of them executes anything that a file names."""
