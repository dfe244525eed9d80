"""Where runs part: by their tokens, their text, or the entropy of their steps."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.emission.run_data import run_columns
from opentelemetry_instrumentation_corevital.store import StoredRun
from opentelemetry_instrumentation_corevital.store.run_differences import (
    RUN_FIELDS,
    difference_text,
    parting,
    same_prompt,
    value_text,
)
from tests.support.made_runs import make_run
from tests.support.stored_runs import stored_with


def made(
    folder: Path, tokens: Sequence[int] = (), *, content: bool = True, text: str | None = None, **changes: Any
) -> StoredRun:
    """Return a stored run with these tokens, whose entropies are those of the tokens."""
    said = {} if text is None else {semconv.GEN_AI_OUTPUT_MESSAGES: json.dumps([{"parts": [{"content": text}]}])}
    stored = stored_with(folder, **{**said, **changes})
    if not tokens:
        return stored
    run = make_run(len(tokens), tokens=tokens, entropy=np.asarray(tokens) / 10)
    return replace(stored, data=to_npz(run_columns(run, content=content)))


def test_runs_part_at_the_first_token_that_differs(tmp_path: Path) -> None:
    runs = [made(tmp_path, tokens) for tokens in ([1, 2, 3, 4], [1, 2, 3, 5, 6], [1, 2, 3, 4])]
    found = parting(runs)
    assert found is not None
    assert (found.basis, found.step, found.alike, found.parted) == ("tokens", 3, 3, True)
    assert found.then == ["token 4", "token 5", "token 4"]


def test_a_run_that_ends_parts_from_one_that_goes_on(tmp_path: Path) -> None:
    found = parting([made(tmp_path, [1, 2]), made(tmp_path, [1, 2, 3])])
    assert found is not None
    assert (found.step, found.then) == (2, ["", "token 3"])


@pytest.mark.parametrize("content", [True, False])
def test_equal_runs_do_not_part(tmp_path: Path, content: bool) -> None:
    found = parting([made(tmp_path, [1, 2, 3], content=content)] * 2)
    assert found is not None
    assert (found.basis, found.step, found.alike, found.parted) == (
        "tokens" if content else "entropy",
        None,
        3,
        False,
    )


def test_the_text_around_it_is_told_where_it_is_stored(tmp_path: Path) -> None:
    runs = [made(tmp_path, [1, 2], text="The cat sat"), made(tmp_path, [1, 3], text="The cow sat")]
    found = parting(runs)
    assert found is not None
    assert (found.basis, found.step, found.before, found.then) == ("tokens", 1, "The c", ["at sat", "ow sat"])


def test_runs_of_different_models_part_in_their_text(tmp_path: Path) -> None:
    other: dict[str, Any] = {semconv.GEN_AI_REQUEST_MODEL: "org/other"}
    runs = [made(tmp_path, [1, 2], text="A blue sky"), made(tmp_path, [7, 8], text="A blue sea", **other)]
    found = parting(runs)
    assert found is not None
    assert (found.basis, found.step, found.alike, found.before, found.then) == (
        "text",
        None,
        8,
        "A blue s",
        ["ky", "ea"],
    )
    assert found.parted
    assert parting([made(tmp_path, [1, 2]), made(tmp_path, [1, 2], **other)]) is None, "ids of two tokenizers"


def test_without_content_runs_of_one_model_part_in_their_entropy(tmp_path: Path) -> None:
    runs = [made(tmp_path, tokens, content=False) for tokens in ([1, 2, 3, 4], [1, 2, 9, 4])]
    found = parting(runs)
    assert found is not None
    assert (found.basis, found.step, found.alike, found.then) == ("entropy", 1, 2, None), "the token before it"
    longer = parting([runs[0], made(tmp_path, [1, 2, 3, 4, 5], content=False)])
    assert longer is not None
    assert (longer.step, longer.alike) == (4, 4)


def test_runs_without_steps_do_not_tell(tmp_path: Path) -> None:
    assert parting([made(tmp_path), made(tmp_path)]) is None
    assert parting([replace(made(tmp_path), data=b"no archive"), made(tmp_path, [1])]) is None


def test_a_prompt_that_is_not_known_is_not_said_to_differ(tmp_path: Path) -> None:
    hashes: list[dict[str, Any]] = [{semconv.FINGERPRINT_PROMPT_HASH: each} for each in ("ab" * 32, "cd" * 32, None)]
    known, other, unknown = (made(tmp_path, **changes) for changes in hashes)
    assert same_prompt([known, known]) is True
    assert same_prompt([known, other]) is False
    assert same_prompt([known, unknown]) is None


def test_values_are_written_as_people_read_them() -> None:
    fields = {field.name: field for field in RUN_FIELDS}
    assert value_text(fields["duration"], 1.234) == "1.23 s"
    assert value_text(fields["flags"], ["nan_detected"]) == "NaN"
    assert value_text(fields["flags"], []) == "none"
    assert value_text(fields["risk"], None) == "-"
    assert difference_text(fields["duration"], 1.0, 3.5) == "+2.50 s"
    assert difference_text(fields["model"], "a", "b") == ""
    assert difference_text(fields["risk"], None, 0.5) == ""
