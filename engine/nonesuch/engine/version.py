"""The version of nonesuch, which every image carries."""

__all__ = ["__version__"]

__version__ = "0.1.0"
