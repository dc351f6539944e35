"""Checks shapes and dtypes at every call that states any, when tests run."""

from collections.abc import Callable
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray


def check[C: Callable[..., Any]](call: C) -> C:
    """The call, checked if arrays are among what it takes or gives."""
    return (
        beartype(call) if any(map(_has_shape, call.__annotations__.values())) else call
    )


def _has_shape(annotation: object) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        return True
    return any(map(_has_shape, get_args(annotation)))
