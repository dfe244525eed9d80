"""The page `/compare`: models over shared prompts, and runs side by side."""

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.dashboard.application import application
from opentelemetry_instrumentation_corevital.dashboard.dashboard_settings import DashboardSettings
from opentelemetry_instrumentation_corevital.emission.run_data import run_columns
from opentelemetry_instrumentation_corevital.store import RunSummary
from opentelemetry_instrumentation_corevital.store.database import open_database
from tests.support.made_runs import make_run
from tests.support.run_sources import SQLitePlace, spans_at

SMALL, LARGE = "org/small", "org/large"


def answered(place: SQLitePlace, model: str | None, prompt: int | None, risk: float, **changes: Any) -> None:
    said = {
        semconv.GEN_AI_REQUEST_MODEL: model,
        semconv.RISK_SCORE: risk,
        semconv.RISK_LEVEL: "high" if risk >= 0.7 else "low",
        semconv.HEALTH_REPETITION_LOOP: risk >= 0.7,
        semconv.FINGERPRINT_PROMPT_HASH: None if prompt is None else f"{prompt:02x}" * 32,
        semconv.FINGERPRINT_PROMPT_HASH_SOURCE: "text",
    }
    place.add(spans_at([10**18 + 10**9 * (prompt or 0)], **{**said, **changes}))


@pytest.fixture
def place(tmp_path: Path) -> SQLitePlace:
    open_database(SQLitePlace(tmp_path).path).close()
    return SQLitePlace(tmp_path)


@pytest.fixture
def filled(place: SQLitePlace) -> SQLitePlace:
    """Eight prompts that both models have run; the small one's risk is 0.1 to 0.17 higher."""
    for prompt in range(8):
        answered(place, LARGE, prompt, 0.1 * prompt)
        answered(place, SMALL, prompt, 0.1 + 0.11 * prompt)
    answered(place, SMALL, 99, 0.5)
    return place


def get(place: SQLitePlace, query: str = "", status: int = 200) -> str:
    app = application(DashboardSettings(str(place.path)))
    answer = TestClient(app, base_url="http://127.0.0.1:4419").get(f"/compare{query}")
    assert answer.status_code == status, answer.text
    return answer.text


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def block(page: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page)
    assert found is not None, name
    return json.loads(found[1])


# --- models ----------------------------------------------------------------------------------------------------------


def test_the_table_is_that_of_the_command(filled: SQLitePlace) -> None:
    told = words(get(filled, f"?reference={LARGE}"))
    assert f"{SMALL} against {LARGE}: clearly different: risk +0.13 (+0.11 to +0.16)" in told
    assert "risk 0.48 0.35 +0.13 +0.11 to +0.16 8 prompts yes" in told
    assert "Over the 8 prompts that all of them have run." in told
    assert "runs 8 8" in told
    assert "repetition loop 1 of 8 2 of 8" in told
    assert "Intervals over fewer than 20 prompts are rough, and here are 8" in told


def test_all_prompts_count_where_it_is_asked_for(filled: SQLitePlace) -> None:
    assert "runs 8 9" in words(get(filled, f"?reference={LARGE}&shared=no"))
    assert "runs 9 8" in words(get(filled, "?shared=no")), "the most frequent is the reference"


def test_models_that_share_no_prompt_are_compared_with_a_warning(place: SQLitePlace) -> None:
    for n in range(5):
        answered(place, "a", n, 0.1 * n)
        answered(place, "b", 20 + n, 0.1 * n, **{semconv.DECODING_STRATEGY: "sample"})
    told = words(get(place))
    assert "The models have no prompt in common" in told
    assert "Models differ in decoding" in told
    assert "Over all prompts." in told
    assert "Prompts, the most different first" not in told


def test_the_form_has_the_state_of_the_address(filled: SQLitePlace) -> None:
    answered(filled, "org/third", 1, 0.2)
    page = get(filled, f"?models={LARGE}&models=org/third&reference=org/third&prompt_hash=0101&limit=7&level=low")
    assert set(re.findall(r'name="models" value="([^"]+)" checked', page)) == {LARGE, "org/third"}
    assert re.search(r'<option value="org/third" selected>', page)
    assert 'name="prompt_hash" value="0101"' in page
    assert 'name="limit" type="number" min="1" max="5000" value="7"' in page
    assert '<input type="hidden" name="level" value="low">' in page
    assert "runs 1 1" in words(page)


def test_distributions_and_flags_are_drawn_from_the_runs(filled: SQLitePlace) -> None:
    page = get(filled, f"?reference={LARGE}")
    risk = block(page, "chart-risk_score")
    assert risk["labels"] == [LARGE, SMALL]
    assert risk["points"][0] == pytest.approx([0.1 * n for n in range(8)])
    assert risk["boxes"][0][2] == pytest.approx(0.35)
    flags = block(page, "chart-flags")
    assert flags["labels"] == ["repetition loop"]
    assert [each["values"] for each in flags["series"]] == [[12.5], [25.0]]


def test_prompts_lead_to_their_runs_side_by_side(filled: SQLitePlace) -> None:
    page = get(filled, f"?reference={LARGE}")
    links = re.findall(r'href="(/compare\?run=[^"]+)">side by side', page)
    assert len(links) == 8
    first = get(filled, links[0].removeprefix("/compare").replace("&amp;", "&"))
    assert "Compare 2 runs" in first
    told = words(page)
    assert told.index("070707070707") < told.index("000000000000"), "the most different first"


def test_the_newest_runs_of_each_are_said_to_be_only_those(filled: SQLitePlace) -> None:
    told = words(get(filled, f"?limit=3&shared=no&reference={LARGE}"))
    assert "runs 3 3" in told
    assert "the newest 3 runs" in told


def test_prompts_like_those_of_a_run(place: SQLitePlace) -> None:
    """Of three kinds of behaviour, each with two prompts, the nearest runs are of the run's own kind."""
    for kind in range(3):
        for prompt in range(2):
            for model in (SMALL, LARGE):
                vector = [kind / 2, 0.5, 0.01 * prompt]
                said = {semconv.FINGERPRINT_VECTOR: vector, semconv.FINGERPRINT_VERSION: "vector-3"}
                answered(place, model, 10 * kind + prompt, 0.1 * kind, **said)
    with place.open() as source:
        run = source.runs(prompt_hash="14")[0]  # kind 2, prompt 0
    page = get(place, f"?near={run.trace_id}/{run.span_id}&k=3")
    assert set(re.findall(r"<code>([0-9a-f]{12})</code>", page)) == {"14" * 6, "15" * 6}
    assert "3 runs that behaved most like it" in words(page)
    assert "Only prompts of" in words(page)


def test_one_model_and_none(place: SQLitePlace) -> None:
    assert "No run of a named model" in get(place)
    answered(place, None, 1, 0.1)
    assert "No run of a named model" in get(place)
    answered(place, SMALL, 1, 0.1)
    assert "There is one model only" in get(place)
    told = words(get(place, "?models=org/none"))
    assert "There is no run of org/none here" in told
    assert "Nothing to compare" in told


def test_runs_without_a_judgement(place: SQLitePlace) -> None:
    nothing = dict.fromkeys(
        (semconv.RISK_SCORE, semconv.RISK_LEVEL, semconv.HEALTH_REPETITION_LOOP, semconv.HEALTH_NAN)
    )
    for model in (SMALL, LARGE):
        answered(place, model, 1, 0.1, **nothing)
    page = get(place)
    assert block(page, "chart-risk_score")["boxes"] == [None, None]
    assert "chart-flags" not in page


# --- runs ------------------------------------------------------------------------------------------------------------


def with_steps(place: SQLitePlace, tokens: list[int], *, content: bool = True, **changes: Any) -> RunSummary:
    run = make_run(len(tokens), tokens=tokens, entropy=np.asarray(tokens) / 10)
    start_ns = 10**18 + 10**9 * len(tokens)
    with place.open() as source:
        before = {run.span_id for run in source.runs(limit=None)}
    place.add(spans_at([start_ns], **changes), to_npz(run_columns(run, content=content)))
    with place.open() as source:
        return next(run for run in source.runs(limit=None) if run.span_id not in before)


def address(*runs: RunSummary) -> str:
    return "?" + "&".join(f"run={run.trace_id}/{run.span_id}" for run in runs)


def test_two_runs_side_by_side(place: SQLitePlace) -> None:
    first = with_steps(place, [1, 2, 3, 4])
    high: dict[str, Any] = {semconv.RISK_SCORE: 0.9, semconv.RISK_LEVEL: "high"}
    second = with_steps(place, [1, 2, 9, 4, 5], **high)
    page = get(place, address(first, second))
    told = words(page)
    assert "They part at step 2, by their tokens." in told
    assert "A goes on token 3" in told
    assert "risk 0.25 0.90 +0.65" in told
    assert "level low high" in told
    assert "decoding greedy_search" in told[told.index("facts are the same") :]
    entropy = block(page, "chart-entropy")
    assert [each["name"] for each in entropy["series"]] == ["A", "B"]
    assert entropy["series"][1]["points"][2] == [2, pytest.approx(0.9)]
    assert entropy["marks"] == [{"at": 2, "name": "they part"}]
    assert f"?run={second.trace_id}/{second.span_id}" in page, "a run can be taken away"


def test_without_content_the_steps_tell(place: SQLitePlace) -> None:
    runs = [with_steps(place, tokens, content=False) for tokens in ([1, 2, 3], [1, 2, 9, 9])]
    told = words(get(place, address(*runs)))
    assert "They part at step 1: behind it the entropies differ. Token ids are not stored, so this is by" in told
    assert "token 3" not in told


def test_four_runs_fit_and_five_do_not(place: SQLitePlace) -> None:
    runs = [with_steps(place, [1, 2, *range(n)]) for n in range(5)]
    page = get(place, address(*runs[:4]))
    assert "Compare 4 runs" in page
    assert "Add a run" not in page
    assert "fit side by side" in get(place, address(*runs), 400)


def test_one_run_is_asked_what_to_stand_beside(place: SQLitePlace) -> None:
    first, second = with_steps(place, [1, 2]), with_steps(place, [1, 2, 3])
    page = get(place, address(first))
    assert "Which one shall stand beside it?" in page
    assert address(first, second) in html.unescape(page)
    assert "same prompt" in page
    assert "Which one shall stand beside it?" in get(place, address(first, first)), "the same one twice"


def test_a_run_may_be_named_as_commands_take_it(place: SQLitePlace) -> None:
    first, second = with_steps(place, [1, 2]), with_steps(place, [1, 2, 3])
    assert "Compare 2 runs" in get(place, f"?run={first.trace_id[:12]}&run={second.trace_id}:0")


def test_runs_without_steps_are_compared_as_far_as_they_are_known(place: SQLitePlace) -> None:
    answered(place, SMALL, 1, 0.1)
    answered(place, LARGE, 2, 0.2)
    with place.open() as source:
        runs = source.runs()
    told = words(get(place, address(*runs)))
    assert "Where their answers part is not known: they are of different models" in told
    assert "Their prompts differ." in told
    assert "these have none" in told


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?run=ffff", "holds no run ffff"),
        (f"?run={'0' * 32}/{'0' * 16}", "there is no such run"),
        ("?run=last&shared=no", "shared"),
        ("?limit=0", "give a number of 1 to 5000"),
        ("?k=5", "give near, too"),
        ("?near=ffff", "near=ffff"),
        ("?shared=maybe", "give yes or no"),
        ("?colour=red", "no such parameter"),
        ("?" + "&".join(f"models={n}" for n in range(13)), "12 can be compared"),
    ],
)
def test_wrong_addresses_say_what_is_wrong(filled: SQLitePlace, query: str, says: str) -> None:
    assert says in words(get(filled, query, 400))


def test_near_a_run_without_a_fingerprint(filled: SQLitePlace) -> None:
    assert "has no fingerprint" in words(get(filled, "?near=last", 400))
