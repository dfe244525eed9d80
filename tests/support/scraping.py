"""What a Prometheus exporter's page says."""

import re
import urllib.request
from dataclasses import dataclass

_SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Sample:
    """A series and its value."""

    name: str
    labels: dict[str, str]
    value: float


def scrape(port: int) -> list[Sample]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return [
        Sample(found["name"], dict(_LABEL.findall(found["labels"] or "")), float(found["value"]))
        for found in _SAMPLE.finditer(text)
    ]


def total(samples: list[Sample], name: str, **labels: str) -> float:
    """Return the sum over all series of this name that have these labels."""
    return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())
