"""A store whose every text is markup, a script, signs that nobody sees, or a megabyte: what pages must bear."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opentelemetry_instrumentation_corevital import semconv
from tests.support.hostile_stores import STEERING
from tests.support.step_logs import StepLogs, Telemetry

_RUNS: Final = "window.hostile = (window.hostile || 0) + 1"
TEXTS: Final[Mapping[str, str]] = {
    "markup": f"\"'><img src=x onerror='{_RUNS}'><svg onload='{_RUNS}'><b style='position:fixed'>bold</b>",
    "script": f"</script></textarea></title><script>{_RUNS}; alert(1)</script><!--",
    "templates": "{{ 7 * 7 }}{% raw %}${window.hostile = 1}{b|bold}&lt;i&gt;&amp;\\u003cscript>",
    "address": f"javascript:{_RUNS}//\r\nSet-Cookie: hostile=1\r\n\r\n<script>{_RUNS}</script>",
    "unseen": STEERING,
    "megabyte": f"<script>{_RUNS}</script>" + "m<" * 500_000,
}
"""Kind -> the text that stands in every text column of its runs."""
RAN: Final = "window.hostile"
"""What JavaScript has once one of them ran."""
_MOST_IN_JSON: Final = 100_000
"""Characters of a text in attributes, so that there are as many of them as a reader takes."""
_STAY: Final = {"trace_id", "span_id", "parent_span_id", "event_name", "digest"}


@dataclass(frozen=True)
class Hostile:
    """The ids of what a store has of one kind, each of a trace and a span: a run, and a call that goes on."""

    run: tuple[str, str]
    running: tuple[str, str]


def fill(path: Path) -> dict[str, Hostile]:
    """Write a store that has, of each kind of text, a labelled run and a call that goes on; return kind -> ids."""
    made = {}
    for kind in TEXTS:
        telemetry = Telemetry(path, service=f"service-{kind}")
        run, running = StepLogs(telemetry), StepLogs(telemetry)
        run.step(2)
        run.end(**{semconv.NARRATIVE: "told", semconv.SERIES_ENTROPY: [1.0, 2.0, 3.0, 2.0]})
        running.step(2, warnings=["norm_jump"])
        telemetry.close()
        made[kind] = Hostile((run.trace_id, run.span_id), (running.trace_id, running.span_id))
    with closing(sqlite3.connect(path)) as connection, connection:
        for kind, text in TEXTS.items():
            connection.execute("INSERT INTO labels VALUES (?, ?, 'good', 'note', 1)", made[kind].run)
            for table in ("runs", "spans", "span_events", "labels", "logs"):
                for ids in (made[kind].run, made[kind].running):
                    _spoil(connection, table, "trace_id = ? AND span_id = ?", ids, text)
            _spoil(connection, "resources", "service_name = ?", (f"service-{kind}",), text)
    return made


def _spoil(connection: sqlite3.Connection, table: str, rows: str, values: tuple[str, ...], text: str) -> None:
    """Put a text into every text column of some rows, but those that say which row it is."""
    kinds = {name: kind for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({table})")}
    texts = [name for name, kind in kinds.items() if kind == "TEXT" and name not in _STAY]
    changed = {
        name: _changed(connection, table, name, rows, values, text)
        for name in texts
        if name != "name" or table != "span_events"
    }
    put = ", ".join(f"{name} = ?" for name in changed)
    connection.execute(f"UPDATE {table} SET {put} WHERE {rows}", (*changed.values(), *values))


def _changed(
    connection: sqlite3.Connection, table: str, name: str, rows: str, values: tuple[str, ...], text: str
) -> str:
    if name not in ("attributes", "body", "exemplars"):
        return text
    stored = connection.execute(f"SELECT {name} FROM {table} WHERE {rows} ORDER BY 1 DESC LIMIT 1", values).fetchone()
    cut = text[:_MOST_IN_JSON]
    return json.dumps(dict(_attributes(json.loads((stored and stored[0]) or "{}"), cut)))


def _attributes(attributes: dict[str, Any], text: str) -> Iterator[tuple[str, Any]]:
    """Yield attributes whose texts are all this one, and more of those that pages show."""
    for name, value in attributes.items():
        yield name, _texts(value, text)
    yield text[:1000], text
    if semconv.RISK_SCORE in attributes:
        parts = [{"type": "text", "content": text}]
        yield semconv.GEN_AI_INPUT_MESSAGES, json.dumps([{"role": "user", "parts": parts}])
        yield semconv.GEN_AI_OUTPUT_MESSAGES, json.dumps([{"role": text, "parts": parts}])
        yield semconv.RISK_FACTORS, [text]
        yield semconv.BLAME_LAYERS, [1]
        yield semconv.BLAME_REASONS, [text]
        yield semconv.BLAME_SEVERITIES, [0.5]
        yield semconv.CAPTURE_ABSENT, json.dumps({text: text})
        yield semconv.HEALTH_EVIDENCE, json.dumps({"repetition_loop_detected": {text: text, "start_step": 1}})


def _texts(value: Any, text: str) -> Any:
    if isinstance(value, str):
        return text
    return [_texts(each, text) for each in value] if isinstance(value, list) else value
