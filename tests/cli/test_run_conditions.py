"""Commands that choose stored runs take the same options."""

import inspect

import pytest
import typer

from opentelemetry_instrumentation_corevital.cli.app import app
from opentelemetry_instrumentation_corevital.cli.run_conditions import RunConditions
from opentelemetry_instrumentation_corevital.store import RunFilter
from tests.support.command_line import Cli
from tests.support.spans import make_spans

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["runs", "export", "push"])
def test_a_command_that_chooses_runs_has_every_condition_once_and_in_order(name: str) -> None:
    options = [each.name for each in COMMANDS[name].params]
    conditions = list(inspect.signature(RunConditions).parameters)
    begin = options.index(conditions[0])
    assert options[begin : begin + len(conditions)] == conditions
    assert "wanted" not in options


def test_no_option_is_no_condition_and_each_option_is_one() -> None:
    assert RunConditions().run_filter() == RunFilter()
    given = {"since": "2h", "until": "1h", "intervened": True, "risk_above": 0.5, "risk_below": 0.5}
    given |= {"answer_above": 0.5, "answer_below": 0.5}
    given |= {"longer_than": 1.0, "tokens_above": 3}
    names = {"level": "high", "flag": "nan", "stop_reason": "eos", "baseline_source": "none"}
    for name in inspect.signature(RunConditions).parameters:
        conditions = RunConditions(**{name: given.get(name, names.get(name, "x"))})
        assert conditions.run_filter() != RunFilter(), name


def test_export_writes_the_runs_that_took_longer(cli: Cli) -> None:
    cli.store(make_spans())
    code, out, _ = cli("export", "--format", "csv", "--tokens-above", "12")
    assert code == 0
    assert len(out.splitlines()) == 1 + 1
