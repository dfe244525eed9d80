"""The query of an address, read and written."""

from dataclasses import fields

import pytest
from starlette.datastructures import QueryParams

from opentelemetry_instrumentation_corevital.dashboard.addresses import CONDITIONS, Query
from opentelemetry_instrumentation_corevital.dashboard.request_errors import BadRequestError
from opentelemetry_instrumentation_corevital.store.filters import RunFilter


def test_every_condition_on_runs_can_stand_in_an_address() -> None:
    assert {condition for condition, _, _ in CONDITIONS.values()} == {each.name for each in fields(RunFilter)}


def test_a_query_is_read_and_written_back() -> None:
    query = Query.read(QueryParams("model=a%20b&risk_above=0.5&intervened=yes&level=&sort=risk"), others=("sort",))
    assert query.wanted == RunFilter(model="a b", risk_above=0.5, intervened=True)
    assert query.others == {"sort": "risk"}
    assert query.address("/runs", model=None) == "/runs?risk_above=0.5&intervened=yes"
    assert query.address("/runs", sort="risk").endswith("sort=risk")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("colour=red", "no such parameter"),
        ("level=high&level=low", "stands there 2 times"),
        ("level=enormous", "unknown level"),
        ("risk_above=much", "give a number"),
        ("risk_above=nan", "not a number"),
        ("tokens_above=1e9", "give a number of tokens"),
        ("since=yesterday", "give 30min"),
        ("since=99999999999999d", "give 30min"),
        ("intervened=perhaps", "give yes or no"),
        (f"model={'x' * 501}", "longer than 500"),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str) -> None:
    with pytest.raises(BadRequestError, match=says) as error:
        Query.read(QueryParams(text))
    assert text.partition("=")[0] in str(error.value)
