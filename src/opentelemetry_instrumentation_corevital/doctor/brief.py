"""The findings in few lines: what is well is told together, what is not as it is."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from .findings import Area, Finding, Level, ok

_MOST_OF_A_LIST: Final = 90
"""Characters of a note that lists names."""


def brief(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Yield fewer and shorter findings, in the order of areas; problems, and advice, are left as they are."""
    stores = {each.text.rpartition(", ")[0]: each.text for each in findings if _is_store(each)}
    for area in dict.fromkeys(each.area for each in findings):
        here = [each for each in findings if each.area is area]
        well = [each for each in here if each.level is Level.OK and not _is_store(each)]
        yield from _TOGETHER.get(area, _as_they_are)(well, stores)
        yield from (_shorter(each) for each in here if each.level is not Level.OK)


def _is_store(finding: Finding) -> bool:
    return finding.area is Area.EXPORTERS and finding.subject == "store"


def _shorter(finding: Finding) -> Finding:
    if finding.level is Level.PROBLEM or finding.area is not Area.INSTRUMENTED or len(finding.text) <= _MOST_OF_A_LIST:
        return finding
    return replace(finding, text=f"{finding.text[:_MOST_OF_A_LIST].rpartition(', ')[0]}, ... (all: --verbose)")


def _as_they_are(well: Sequence[Finding], _stores: Mapping[str, str]) -> Iterable[Finding]:
    return well


def _packages(well: Sequence[Finding], _stores: Mapping[str, str]) -> Iterator[Finding]:
    if well:
        corevital, *packages = well
        shown = [f"{each.subject} {each.text.partition(' ')[0]}" for each in packages if "-" not in each.subject]
        others = len(packages) - len(shown)
        more = [f"{others} packages of OpenTelemetry"] if others else []
        yield ok(corevital.area, f"corevital {corevital.text}", ", ".join([*shown, *more]))


def _places(well: Sequence[Finding], _stores: Mapping[str, str]) -> Iterator[Finding]:
    if well:
        yield ok(well[0].area, "generate()", f"and {len(well) - 1} other places are as they have to be")


def _fits(well: Sequence[Finding], _stores: Mapping[str, str]) -> Iterator[Finding]:
    if well:
        yield ok(well[0].area, "a run's span", "is within the limits of the SDK")


def _by_destination(well: Sequence[Finding], stores: Mapping[str, str]) -> Iterator[Finding]:
    """Tell signals with one destination together; a destination is what stands behind `to`, else the exporter."""
    places: dict[str, list[tuple[str, Finding]]] = {}
    others = list[Finding]()
    for each in well:
        if found := re.fullmatch(r"(traces|metrics|logs): ((?:.*? to )?(.*))", each.subject):
            place = found[3] if found[3] in stores else re.sub("(Span|Metric|Log)", "", found[2])
            places.setdefault(place, []).append((found[1], each))
        else:
            others.append(each)
    for place, exporters in places.items():
        first = exporters[0][1]
        signals = " and ".join(", ".join(signal for signal, _ in exporters).rsplit(", ", 1))
        if first.area is Area.ARRIVAL:
            yield ok(first.area, signals, first.text)
        else:
            yield ok(first.area, signals, f"to the store {stores[place]}" if place in stores else place)
    if others:
        yield ok(others[0].area, "; ".join(f"{each.subject}: {each.text}" for each in others), "")


_TOGETHER: Final[Mapping[Area, Callable[[Sequence[Finding], Mapping[str, str]], Iterable[Finding]]]] = {
    Area.INSTALLED: _packages,
    Area.INSTRUMENTED: _places,
    Area.EXPORTERS: _by_destination,
    Area.ARRIVAL: _by_destination,
    Area.LIMITS: _fits,
}
