"""Functions that are recorded while they run: plain ones, coroutines and generators of both kinds."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager, aclosing
from functools import partial, wraps
from typing import Any


def decorated(function: Callable[..., Any], block: AbstractContextManager[Any]) -> Callable[..., Any]:
    """Return a function that does what another one does, inside of a block that may be entered several times at once.

    A coroutine is inside until it returns; a generator from its first item until it ends or is closed. A static method
    stays one, and so does one of a class.

    Raises:
        TypeError: for what is no function.
    """
    if isinstance(function, staticmethod | classmethod):
        return type(function)(decorated(function.__func__, block))
    if isinstance(function, type) or not callable(function):
        raise TypeError(
            f"CoreVital: recording() decorates functions, not {function!r}; for anything else write "
            "`with corevital.recording():`"
        )
    # What an object with `__call__` does, its method says.
    does = function if inspect.isroutine(function) or isinstance(function, partial) else type(function).__call__
    if inspect.iscoroutinefunction(does):
        wrapper = _coroutine(function, block)
    elif inspect.isasyncgenfunction(does):
        wrapper = _async_generator(function, block)
    elif inspect.isgeneratorfunction(does):
        wrapper = _generator(function, block)
    else:
        wrapper = _plain(function, block)
    return wraps(function)(wrapper)


def _plain(function: Callable[..., Any], block: AbstractContextManager[Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with block:
            return function(*args, **kwargs)

    return call


def _coroutine(function: Callable[..., Any], block: AbstractContextManager[Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        with block:
            return await function(*args, **kwargs)

    return call


def _generator(function: Callable[..., Any], block: AbstractContextManager[Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with block:
            return (yield from function(*args, **kwargs))

    return call


def _async_generator(function: Callable[..., Any], block: AbstractContextManager[Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        with block:
            async with aclosing(function(*args, **kwargs)) as items:
                step: Awaitable[Any] = items.asend(None)
                while True:
                    try:
                        item = await step
                    except StopAsyncIteration:
                        return
                    try:
                        step = items.asend((yield item))
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step = items.athrow(error)

    return call
