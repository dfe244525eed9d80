"""`corevital baseline drift`: one line per model, JSON, and exit codes that a cron job can tell apart."""

import json
import re
from typing import Any

import numpy as np

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.cli.drift_command import DRIFTED
from tests.support.command_line import Cli
from tests.support.run_sources import spans_at

SECOND_NS = 10**9


def add(
    cli: Cli, count: int, *, first: int = 0, model: str = "org/model", excess: float = -0.5, **changes: Any
) -> None:
    """Store runs, one a second, whose surprisal is so far above their entropy [bit]."""
    rng, made = np.random.default_rng(first), []
    for number in range(first, first + count):
        bits = float(rng.uniform(1, 3))
        attributes = {
            semconv.GEN_AI_REQUEST_MODEL: model,
            semconv.ENTROPY_MEAN: bits,
            semconv.SURPRISAL_MEAN: bits + excess + float(rng.normal(0, 0.1)),
            semconv.GEN_AI_REQUEST_TEMPERATURE: 0.7,
            semconv.FINGERPRINT_PROMPT_HASH: f"{number:064x}",
            semconv.HEALTH_REPETITION_LOOP: False,
            **changes,
        }
        made += spans_at([(number + 1) * SECOND_NS], **attributes)
    cli.store(made)


def test_one_line_per_model_and_exit_code_5_where_one_has_drifted(cli: Cli) -> None:
    add(cli, 90, model="org/steady")
    assert cli("baseline", "drift")[:2] == (0, "org/steady: no drift in 90 runs\n")
    add(cli, 80)
    add(cli, 25, first=80, excess=0.4, **{semconv.GEN_AI_REQUEST_TEMPERATURE: 1.2})
    add(cli, 30, model="org/new")
    code, out, err = cli("baseline", "drift")
    assert code == DRIFTED == 5
    drifted, steady, new = out.splitlines()
    assert steady == "org/steady: no drift in 90 runs"
    assert new == "org/new: too few runs to tell: 30 of the 60 that it takes"
    assert drifted.startswith("org/model: drift since 1970-01-01 ")
    assert re.search(r"surprisal above entropy -0\.(4[5-9]|5\d) -> 0\.[34]\d bit", drifted)
    assert drifted.endswith(" bit; with it temperature 0.7 -> 1.2")
    assert "corevital.db" in err
    code, out, _ = cli("baseline", "drift", "--model", "steady")
    assert (code, out) == (0, "org/steady: no drift in 90 runs\n")
    assert cli("baseline", "drift", "--model", "model", "--service", "other")[0] == 1


def test_the_run_that_is_named_is_the_first_of_the_changed_ones(cli: Cli) -> None:
    add(cli, 80)
    add(cli, 25, first=80, excess=0.4)
    code, out, _ = cli("baseline", "drift", "--json")
    (told,) = json.loads(out)["models"]
    assert code == DRIFTED
    assert (told["model"], told["verdict"], told["runs"], told["settings"]) == ("org/model", "drift", 105, [])
    assert told["since"]["start_ns"] == 81 * SECOND_NS
    (signal,) = told["signals"]
    assert (signal["name"], signal["unit"], signal["since"]) == ("surprisal_excess", "bit", told["since"])
    assert signal["effect"] > 0.9
    named = cli("baseline", "drift")[1].partition("(run ")[2].partition(";")[0]
    assert told["since"]["trace_id"].startswith(named)
    assert cli("show", named)[0] == 0, "it can be shown"


def test_since_leaves_out_what_was_before_a_change(cli: Cli) -> None:
    add(cli, 80)
    add(cli, 70, first=80, excess=0.4)
    assert cli("baseline", "drift")[0] == DRIFTED
    code, out, _ = cli("baseline", "drift", "--since", "1970-01-01T00:01:21+00:00")
    assert (code, out) == (0, "org/model: no drift in 70 runs\n")


def test_other_prompts_loops_and_nothing_at_all_are_said(cli: Cli) -> None:
    add(cli, 1)
    code, _, err = cli("baseline", "drift", "--model", "other")
    assert code == 1
    assert "--model other" in err
    assert cli("baseline", "drift", "--since", "2h")[:2] == (0, "No run matches.\n")
    add(cli, 79, first=1)
    add(cli, 25, first=80, **{semconv.GEN_AI_USAGE_INPUT_TOKENS: 90})
    code, out, _ = cli("baseline", "drift")
    assert code == 0
    assert out.startswith("org/model: no drift in 105 runs; but since 1970-01-01 ")
    assert out.endswith("prompt's tokens 5 -> 90\n")
    add(cli, 20, first=200, **{semconv.GEN_AI_USAGE_INPUT_TOKENS: 90, semconv.HEALTH_REPETITION_LOOP: True})
    code, out, _ = cli("baseline", "drift")
    assert code == DRIFTED
    assert "loops in 0% -> 100% of the runs; the prompts changed, too (prompt's tokens 5 -> 90)" in out
