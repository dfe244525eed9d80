"""How a report that came out differs from the one that went in."""

from typing import Any


def differences(source: Any, found: Any, where: str = "") -> list[str]:
    """Return the fields that both have and that are not equal."""
    if isinstance(source, dict) and isinstance(found, dict):
        return [
            each
            for key in source.keys() & found.keys()
            for each in differences(source[key], found[key], f"{where}.{key}")
        ]
    if isinstance(source, list) and isinstance(found, list):
        if len(source) != len(found):
            return [f"{where}: {len(source)} or {len(found)}"]
        return [
            each
            for i, (a, b) in enumerate(zip(source, found, strict=True))
            for each in differences(a, b, f"{where}[{i}]")
        ]
    same = source == found and isinstance(source, bool) == isinstance(found, bool)
    return [] if same else [f"{where}: {source!r} became {found!r}"]


def missing(source: Any, found: Any, where: str = "") -> list[str]:
    """Return the fields of a source that are not found."""
    if isinstance(source, dict):
        lost = [f"{where}.{key}" for key in source if key not in found]
        return lost + [
            each for key in source if key in found for each in missing(source[key], found[key], f"{where}.{key}")
        ]
    if isinstance(source, list):
        return [
            each for i, (a, b) in enumerate(zip(source, found, strict=True)) for each in missing(a, b, f"{where}[{i}]")
        ]
    return []
