"""The page `/compare`: models over the prompts that they share, or two to four runs side by side."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from .._internal.printable import one_line
from ..store.comparison import Groups, in_common, only_shared, prompt_of
from ..store.filters import RunFilter
from ..store.source import RunSource
from ..store.store_error import StoreError
from ..store.stored_run import RunSummary
from .addresses import Query, run_path
from .compare_models import models_view
from .compare_runs import FEWEST_RUNS, MOST_RUNS, runs_view
from .dashboard import Dashboard
from .named_runs import named_run, run_key
from .request_errors import BadRequestError

_RUNS_OF_EACH: Final = 500
_MOST_RUNS_OF_EACH: Final = 5000
_MODELS: Final = 4
"""Compared where none is named: the most frequent."""
_MOST_MODELS: Final = 12
_NEAREST: Final = 20
_MOST_NEAREST: Final = 200
_CANDIDATES: Final = 12
_YES_NO: Final = ("yes", "no")
_OTHERS: Final = ("shared", "limit", "near", "k", "reference")


def routes(dashboard: Dashboard) -> list[BaseRoute]:
    """Return the routes of this page."""

    def compare(request: Request) -> Response:
        query = Query.read(request.query_params, others=_OTHERS, repeated=("run", "models"))
        with dashboard.source() as source:
            if query.repeated["run"]:
                return _runs_page(dashboard, request, source, query)
            return _models_page(dashboard, request, source, query)

    return [Route("/compare", compare)]


# --- runs --------------------------------------------------------------------------------------------------------


def _runs_page(dashboard: Dashboard, request: Request, source: RunSource, query: Query) -> Response:
    beside = (*query.others, *(["models"] if query.repeated["models"] else []))
    if beside:
        raise BadRequestError(f"{beside[0]}: compares models, so it does not go together with run.")
    found = [named_run(source, name, "run") for name in query.repeated["run"]]
    chosen = list({run_key(run): run for run in found}.values())
    if len(chosen) > MOST_RUNS:
        raise BadRequestError(f"run: stands there {len(chosen)} times; {MOST_RUNS} fit side by side.")
    values: dict[str, Any] = {"keys": [run_key(run) for run in chosen], "query": query, "most": MOST_RUNS}
    candidates = _candidates(source, chosen) if len(chosen) < MOST_RUNS else []
    values["candidates"] = [(run, run_key(run), why) for run, why in candidates]
    if len(chosen) < FEWEST_RUNS:
        return dashboard.page(
            request, "compare/one_run.html.j2", run=chosen[0], path=run_path(chosen[0]), charts=[], **values
        )
    view = runs_view([source.load(run) for run in chosen])
    return dashboard.page(request, "compare/runs.html.j2", view=view, charts=view.charts, **values)


def _candidates(source: RunSource, chosen: Sequence[RunSummary]) -> list[tuple[RunSummary, str]]:
    """Return runs that may be held against these, each with the reason: of the same prompt, then alike."""
    keys, found = {run_key(run) for run in chosen}, list[tuple[RunSummary, str]]()
    if chosen[0].prompt_hash:
        of_prompt = source.runs(RunFilter(prompt_hash=chosen[0].prompt_hash), limit=_CANDIDATES)
        found += [(run, "same prompt") for run in of_prompt if prompt_of(run) == prompt_of(chosen[0])]
    if len(found) < _CANDIDATES:
        found += [(run, "behaved alike") for run in _alike(source, chosen[0], _CANDIDATES)]
    first = {run_key(run): (run, why) for run, why in reversed(found) if run_key(run) not in keys}
    return list(reversed(first.values()))[:_CANDIDATES]


def _alike(source: RunSource, run: RunSummary, k: int) -> list[RunSummary]:
    try:
        return [each.run for each in source.similar(run, k)]
    except StoreError:  # it has no fingerprint
        return []


# --- models ------------------------------------------------------------------------------------------------------


def _models_page(dashboard: Dashboard, request: Request, source: RunSource, query: Query) -> Response:
    limit = _count(query, "limit", _RUNS_OF_EACH, _MOST_RUNS_OF_EACH)
    k = _count(query, "k", _NEAREST, _MOST_NEAREST)
    if "k" in query.others and "near" not in query.others:
        raise BadRequestError("k: says how many runs like `near` are taken; give near, too.")
    shared = query.others.get("shared")
    if shared is not None and shared not in _YES_NO:
        raise BadRequestError(f"shared={one_line(shared, 20)}: give yes or no.")
    wanted = replace(query.wanted, model=None)
    counts = source.models(wanted)
    names = [name for name in counts if name is not None]
    chosen, unknown = _chosen(query, names)
    near = named_run(source, query.others["near"], "near") if "near" in query.others else None
    groups: Groups = {}
    if near is None:
        groups = dict(source.compared(chosen, wanted, limit=limit))
    else:
        groups = _of_cluster(source, chosen, wanted, near, k, limit)
    common = in_common(groups) if len(groups) > 1 else set()
    if common and shared != "no":
        groups = only_shared(groups)
    view = models_view(groups) if any(groups.values()) else None
    return dashboard.page(
        request,
        "compare/models.html.j2",
        view=view,
        charts=[] if view is None else view.charts,
        query=query,
        names=[(name, counts[name]) for name in names],
        chosen=chosen,
        unknown=unknown,
        shared=bool(common) and shared != "no",
        common=len(common),
        limit=limit,
        limited=[name for name, runs in groups.items() if near is None and counts[name] > limit],
        near=None if near is None else (near, run_key(near), run_path(near)),
        k=k,
    )


def _count(query: Query, name: str, usual: int, most: int) -> int:
    text = query.others.get(name)
    if text is None:
        return usual
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= most:
        raise BadRequestError(f"{name}={one_line(text, 20)}: give a number of 1 to {most}.")
    return int(text)


def _chosen(query: Query, names: list[str]) -> tuple[list[str], list[str]]:
    """Return the models that are compared, the reference first, and those that were named and have no run."""
    named = list(dict.fromkeys(query.repeated["models"]))
    if len(named) > _MOST_MODELS:
        raise BadRequestError(f"models: stands there {len(named)} times; {_MOST_MODELS} can be compared.")
    first = query.others.get("reference") or query.wanted.model
    chosen = [name for name in named if name in names] or (names[:_MODELS] if not named else [])
    if first is not None and first in names:
        chosen = [first, *(name for name in chosen if name != first)]
    return chosen, [name for name in named if name not in names]


def _of_cluster(
    source: RunSource, models: Sequence[str], wanted: RunFilter, near: RunSummary, k: int, limit: int
) -> Groups:
    """Return the models' runs of the prompts of a run and of the k runs that behaved most like it.

    Raises:
        BadRequestError: if the run has no fingerprint.
    """
    try:
        alike = [each.run for each in source.similar(near, k)]
    except StoreError as error:
        raise BadRequestError(f"near: {error}") from None
    prompts = dict.fromkeys(key for run in (near, *alike) if (key := prompt_of(run)) is not None)
    groups: Groups = {model: [] for model in models}
    for prompt in prompts:
        found = source.compared(models, replace(wanted, prompt_hash=prompt[1]), limit=limit)
        for model, runs in found.items():
            groups[model] += [run for run in runs if prompt_of(run) == prompt]
    return {model: runs for model, runs in groups.items() if runs}
