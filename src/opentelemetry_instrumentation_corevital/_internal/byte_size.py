"""Sizes of files as people read them."""


def byte_size(count: float) -> str:
    """Return a number of bytes with its unit, as in "1.5 MiB"."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"
