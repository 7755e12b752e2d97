"""Keyword arguments that there are none of, refused with the one that was probably meant."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")


def refuse_unknown(
    options: type | None = None, defaults: Mapping[str, Any] | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator that names unknown keywords, and shows `**options` one by one in the signature.

    Args:
        options: a `TypedDict`, what the function takes as `**options`.
        defaults: of these.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        if options is not None:
            signature = _spelled_out(signature, options, defaults or {})
        known = [p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]

        @functools.wraps(function)
        def refusing(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs:
                if name not in known:
                    raise TypeError(unknown(name, known))
            return function(*args, **kwargs)

        cast("Any", refusing).__signature__ = signature
        return refusing

    return decorate


def unknown(name: str, known: Sequence[str]) -> str:
    """What to say of a keyword that is none of those that are known."""
    close = difflib.get_close_matches(name, known, n=1)
    meant = f": did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"
    return f"there is no argument {name!r}{meant}"


def _spelled_out(
    signature: inspect.Signature, options: type, defaults: Mapping[str, Any]
) -> inspect.Signature:
    fixed = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    named = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=defaults[name],
            annotation=getattr(annotation, "__forward_arg__", annotation),
        )
        for name, annotation in options.__annotations__.items()
    ]
    return signature.replace(parameters=[*fixed, *named])
