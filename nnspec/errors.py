"""Errors of users, whose text says what is wrong and what to do; and broken promises of code."""

from collections.abc import Sequence

__all__ = ["ContractError", "DataWarning", "NnspecError", "ensure", "some_of"]


class NnspecError(Exception):
    """A spec, data or a place that cannot be used. The message is for whoever gave it."""


class ContractError(RuntimeError):
    """The class of a part does not do what it declares, or nnspec does not do what it promises to a part."""


def ensure(holds: bool, what: str) -> None:
    """Raise ContractError where something does not hold that results depend on. Unlike `assert`, it works under -O."""
    if not holds:
        raise ContractError(what)


def some_of(items: Sequence[object], most: int = 12) -> str:
    """List items in a message: `SGD, Adam`; of more than `most` the first ones, and `…`."""
    return ", ".join(map(str, items[:most])) + (", …" if len(items) > most else "")


class DataWarning(UserWarning):
    """Data stands in for the data that a spec asks for first."""
