"""What is in an object, in values of JSON: the code of before wrote it, the code of today has to read the same."""

from dataclasses import fields, is_dataclass
from typing import Any


def plain(value: Any) -> Any:
    """Return a value as lists, mappings, text and whole numbers; other numbers as text, which NaN is equal in."""
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return {"name": value.__qualname__}
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | bytes):
        return repr(value)
    if hasattr(value, "tolist"):
        return {"dtype": str(value.dtype), "values": plain(value.tolist())}
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if is_dataclass(value):
        inside: Any = {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    elif hasattr(type(value), "model_dump"):
        inside = plain(value.model_dump())
    elif isinstance(value, list | tuple | BaseException):
        inside = [plain(each) for each in (value.args if isinstance(value, BaseException) else value)]
    else:
        inside = plain(vars(value))
    return {type(value).__name__: inside}
