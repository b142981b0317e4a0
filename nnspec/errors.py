"""What all errors have in common that are no fault of nnspec: their text says what is wrong and what to do."""

__all__ = ["NnspecError"]


class NnspecError(Exception):
    """A spec, data or a place that cannot be used. The message is for whoever gave it."""
