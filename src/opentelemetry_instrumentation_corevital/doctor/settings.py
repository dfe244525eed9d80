"""Whether CoreVital's options can be read, and what of them keeps runs from being recorded."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from .. import config
from ..config import Settings, SettingsError, environment_variable, read_settings, variables_nobody_reads
from .findings import Area, Finding, note, ok, problem


def check(keywords: Mapping[str, Any] | None = None) -> Iterator[Finding]:
    """Yield findings on the options.

    Args:
        keywords: options that a declarative configuration file gives; None where there is no such file.
    """
    yield from _unknown_variables()
    source = "options" if keywords is None else "options (with those of OTEL_CONFIG_FILE)"
    told = _Told()
    logger = logging.getLogger(config.__name__)
    logger.addHandler(told)
    try:
        settings = read_settings(keywords)
    except SettingsError as error:
        yield problem(
            Area.SETTINGS,
            source,
            f"{str(error).removeprefix('CoreVital: ')}: CoreVital stays off",
            "docs/configuration.md has every option and its values",
        )
        return
    finally:
        logger.removeHandler(told)
    for line in told.lines:
        yield note(Area.SETTINGS, environment_variable("capture_message_content"), line)
    if not settings.enabled:
        yield problem(
            Area.SETTINGS, "enabled", "is false: CoreVital is switched off", f"unset {environment_variable('enabled')}"
        )
    if settings.capture_ratio < 1:
        yield note(Area.SETTINGS, "capture_ratio", f"{settings.capture_ratio:g} of the calls are measured")
    yield ok(Area.SETTINGS, source, _changed(settings))


class _Told(logging.Handler):
    """Keeps what the settings warn about."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _changed(settings: Settings) -> str:
    """Return the options that are not at their defaults; a secret one by name only."""
    changed = {
        name: getattr(settings, name)
        for name, field in Settings.model_fields.items()
        if getattr(settings, name) != field.default
    }
    shown = [f"{name}={'***' if name == 'hash_key' else value}" for name, value in changed.items()]
    return ", ".join(shown) or "all at their defaults"


def _unknown_variables() -> Iterator[Finding]:
    for unknown in variables_nobody_reads():
        yield problem(
            Area.SETTINGS,
            unknown.name,
            "is no option of CoreVital: nothing reads it",
            f"did you mean {unknown.nearest}?" if unknown.nearest else "docs/configuration.md has every option",
        )
