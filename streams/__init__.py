"""LLM usage metering on streams."""

__version__ = "0.1.0"
