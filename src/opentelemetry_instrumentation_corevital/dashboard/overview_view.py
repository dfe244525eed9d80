"""The page `/overview`: what runs show over time, by model, and which of the newest need a review."""

import time
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..catalogue.spelling import for_people
from ..store.figures_over_time import FiguresOverTime
from ..store.filters import FLAGS, LEVELS
from ..store.source import RunSource
from ..store.time_text import time_ns_of
from .addresses import Query, run_path
from .dashboard import Dashboard
from .overview_figures import MEASURES_OVER_TIME, flag_chart, headline, level_chart, line_charts, model_table
from .overview_outcomes import overview_outcomes
from .request_errors import BadRequestError

_ALL: Final = "all"
RANGES: Final = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", _ALL: "All"}
_DEFAULT_RANGE: Final = "7d"
_TO_REVIEW: Final = 12


def routes(dashboard: Dashboard) -> list[BaseRoute]:
    """Return the routes of this page."""

    def overview(request: Request) -> Response:
        query = Query.read(request.query_params, others=("range",))
        chosen = _range(query)
        since = query.conditions.get("since") if chosen is None else None if chosen == _ALL else chosen
        wanted = query.wanted if since is None else replace(query.wanted, since_ns=time_ns_of(since))
        with dashboard.source() as source:
            found = source.figures_over_time(wanted, now_ns=time.time_ns())
            review = source.to_review(wanted, limit=_TO_REVIEW)
            outcomes = overview_outcomes(source, wanted) if found.models else None
            models = _models(source, found, query)
            has_runs = bool(found.models or source.models())
        counted, lines = ([level_chart(found), flag_chart(found)], line_charts(found)) if found.models else ([], [])
        return dashboard.page(
            request,
            "overview/overview.html.j2",
            found=found,
            headline=headline(found) if found.models else "",
            counted=counted,
            lines=[chart for chart in lines if chart["table"]["rows"]],
            measures=[(measure.heading, measure.title) for measure in MEASURES_OVER_TIME],
            rows=model_table(found),
            outcomes=outcomes,
            review=[(run, run_path(run), list(map(for_people, run.flags))) for run in review],
            has_runs=has_runs,
            query=query,
            runs_address=query.address("/runs", since=since),
            chosen=chosen,
            ranges=[
                (name, title, query.address("/overview", range=name, since=None, until=None))
                for name, title in RANGES.items()
            ],
            choices={
                "model": models,
                "level": LEVELS,
                "flag": [(flag, for_people(flag)) for flag in FLAGS],
            },
        )

    return [Route("/overview", overview)]


def _models(source: RunSource, found: FiguresOverTime, query: Query) -> list[str]:
    """Return the models that can be chosen: those of the figures, where they are of all models."""
    shown = [each.model for each in found.models]
    whole = shown and not query.conditions and not any(each.others for each in found.models)
    return sorted(filter(None, shown if whole else source.models()))


def _range(query: Query) -> str | None:
    """Return the range that was chosen; None where the address has times of its own.

    Raises:
        BadRequestError: for a range that there is not, or one beside times.
    """
    given, times = query.others.get("range"), query.wanted.since_ns is not None or query.wanted.until_ns is not None
    if given is not None and given not in RANGES:
        raise BadRequestError(f"range={given[:20]}: give one of {', '.join(RANGES)}.")
    if given is not None and times:
        raise BadRequestError("range: does not go together with since or until; leave one of them out.")
    return None if times else given or _DEFAULT_RANGE
