"""A run as its page shows it: all parts together, from the run's shape alone."""

from collections.abc import Sequence
from typing import Any

from .... import semconv
from ...shapes import RunShape
from ...timeline import lines
from .absence_view import absence_view
from .content_view import content_view
from .map_view import layer_table, maps_view
from .prompt_view import prompt_view
from .raw_view import raw_view
from .settings_view import settings_view
from .strip_view import strip_view
from .timeline_view import step_table, timelines_view
from .verdict_view import answer_view, blame_view, flags_view, interventions_view, reason_of, risk_view, warnings_view


def run_page_view(run: RunShape, tokens: Sequence[str] | None) -> dict[str, Any]:
    """Return what the template of a run's page shows, by the names that it uses.

    Args:
        run: the run.
        tokens: text of every generated token, or None where it is not known.
    """
    found = lines(run)
    total = run.attributes.get(semconv.STEPS_TOTAL)
    ends = [max(line.steps) + 1 for line in found]
    steps = max([len(tokens or ()), total if isinstance(total, int) else 0, *ends])
    timelines = timelines_view(run, found, steps)
    maps = maps_view(run)
    return {
        "run": run.summary,
        "label": run.label,
        "steps": steps,
        "risk": risk_view(run),
        "answer": answer_view(run),
        "flags": flags_view(run),
        "warnings": warnings_view(run),
        "why_no_warnings": reason_of(run, "repetition_risk", "entropy_rising"),
        "blame": blame_view(run),
        "interventions": interventions_view(run),
        "strip": strip_view(run, tokens, found, steps, timelines),
        "timelines": timelines,
        "step_table": step_table(found) if found else None,
        "maps": maps,
        "map_table": layer_table(maps["maps"][0]) if maps["maps"] else None,
        "prompt": prompt_view(run),
        "content": content_view(run),
        "settings": settings_view(run),
        "absence": absence_view(run),
        "raw": raw_view(run),
    }
