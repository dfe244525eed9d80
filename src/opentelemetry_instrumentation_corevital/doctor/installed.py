"""Which packages are installed, and whether their versions are ones that CoreVital works with."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from typing import Final

from packaging.requirements import Requirement
from packaging.version import Version

from ..version import __version__
from .findings import Area, Finding, note, ok, problem

DISTRIBUTION: Final = "opentelemetry-instrumentation-corevital"
_EXTRAS: Final = ("", "transformers", "distro")
_TOLD: Final = ("torch", "transformers", "opentelemetry-")
"""Of what CoreVital needs, what decides whether a run can be recorded."""
_ADVICE: Final = {
    "transformers": f"pip install '{DISTRIBUTION}[transformers]'",
    "torch": f"pip install '{DISTRIBUTION}[transformers]'",
    "opentelemetry-distro": f"pip install '{DISTRIBUTION}[distro]'",
}


def check() -> Iterator[Finding]:
    """Yield a finding for every package that matters."""
    yield ok(Area.INSTALLED, "corevital", f"{__version__}, Python {platform.python_version()}")
    for requirement in requirements():
        yield _package(requirement)


def requirements() -> list[Requirement]:
    """Return the packages that matter with their supported ranges, as the installed metadata of CoreVital has them."""
    try:
        every = [Requirement(text) for text in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:  # run from a source tree that was never installed
        return []
    wanted = {
        each.name: each
        for each in every
        if each.name.startswith(_TOLD)
        and any(each.marker is None or each.marker.evaluate({"extra": extra}) for extra in _EXTRAS)
    }
    return sorted(wanted.values(), key=lambda each: (each.name.startswith("opentelemetry"), each.name))


def _package(requirement: Requirement) -> Finding:
    name, supported = requirement.name, ", ".join(sorted(map(str, requirement.specifier), reverse=True))
    install = f"pip install '{name}{requirement.specifier}'"
    try:
        found = version(name)
    except PackageNotFoundError:
        if name == "opentelemetry-distro":
            return _no_distro()
        return problem(Area.INSTALLED, name, f"is not installed; {supported} is needed", _ADVICE.get(name, install))
    if not requirement.specifier.contains(Version(found).base_version, prereleases=True):
        return problem(Area.INSTALLED, name, f"{found} is not supported, {supported} is", install)
    return ok(Area.INSTALLED, name, f"{found} (supported: {supported})")


def _no_distro() -> Finding:
    name = "opentelemetry-distro"
    if others := [each.name for each in entry_points(group="opentelemetry_configurator")]:
        return note(Area.INSTALLED, name, f"is not installed; {', '.join(others)} configures OpenTelemetry instead")
    return problem(
        Area.INSTALLED,
        name,
        "is not installed, and nothing else configures OpenTelemetry at the start: "
        "under opentelemetry-instrument nothing is exported",
        f"{_ADVICE[name]}; a program that sets its providers in code does not need it",
    )
