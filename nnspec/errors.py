"""User errors, whose message says what is wrong and what to do, and violated contracts of code."""

from collections.abc import Sequence

__all__ = ["ContractError", "DataWarning", "NnspecError", "ensure", "some_of"]


class NnspecError(Exception):
    """Base of all errors that are caused by a spec, data, a path or the environment."""


class ContractError(RuntimeError):
    """A part does not do what its class declares, or nnspec violates its contract with a part."""


def ensure(holds: bool, what: str) -> None:
    """Raise ContractError unless a condition holds that results depend on. Unlike `assert`, it works under -O."""
    if not holds:
        raise ContractError(what)


def some_of(items: Sequence[object], most: int = 12) -> str:
    """List items in a message: `SGD, Adam`. If there are more than `most`, list the first ones and `…`."""
    return ", ".join(map(str, items[:most])) + (", …" if len(items) > most else "")


class DataWarning(UserWarning):
    """A fallback data source is used instead of the preferred one."""
