"""Environment variables that are meant for CoreVital and that nothing reads: most are misspelt."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PREFIX: Final = "OTEL_COREVITAL_"
COLLECT_TOKEN_ENV: Final = "COREVITAL_COLLECT_TOKEN"
DASHBOARD_TOKEN_ENV: Final = "COREVITAL_DASHBOARD_TOKEN"

OTHERS: Final = (
    *("BACKEND", "CLICKHOUSE", "COLLECTOR", "FILE", "GATEWAY", "GATEWAYS", "JAEGER", "LANGFUSE", "OTLP", "PROMETHEUS"),
    *("SAMPLING", "FUZZ", "HUB", "OTELCOL", "PHOENIX", "SMOLLM2"),
)
"""First words behind `COREVITAL_` of what others read: the Collector's configurations, the tests, the benchmarks."""

_OURS: Final = re.compile(r"(OTEL_(?:[A-Z]+_)*)?CORE_?VITALS?_(.+)")
_KUBERNETES: Final = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")
"""What Kubernetes sets in every container of a namespace that has a service called `corevital`."""
_ALIKE: Final = 0.85


@dataclass(frozen=True, slots=True)
class UnknownVariable:
    """A variable that nothing reads."""

    name: str
    nearest: str | None
    """The variable that was probably meant."""


def unknown_variables(environment: Mapping[str, str], options: Mapping[str, str]) -> list[UnknownVariable]:
    """Return the variables that look like CoreVital's and are none, by name.

    Args:
        environment: the variables; their values are not looked at.
        options: option -> its variable.
    """
    known = {*options.values(), COLLECT_TOKEN_ENV, DASHBOARD_TOKEN_ENV}
    meant = {**options, "collect_token": COLLECT_TOKEN_ENV, "dashboard_token": DASHBOARD_TOKEN_ENV}
    found = list[UnknownVariable]()
    for given in sorted(environment):
        name = given.upper()  # options are read whatever the case
        if name in known or not _looks_like_ours(name):
            continue
        option = match[2].lower() if (match := _OURS.fullmatch(name)) else ""
        near = difflib.get_close_matches(option, meant, n=1)
        nearest = [meant[near[0]]] if near else difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE)
        found.append(UnknownVariable(given, nearest[0] if nearest else None))
    return found


def _looks_like_ours(name: str) -> bool:
    if match := _OURS.fullmatch(name):
        own = match[1] or match[2].partition("_")[0] not in OTHERS
        return own and not _KUBERNETES.fullmatch(name)
    return name.startswith("OTEL_CO") and _alike(name[: len(PREFIX)], PREFIX) >= _ALIKE


def _alike(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
