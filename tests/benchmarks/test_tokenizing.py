"""The benchmark of what a tokenizer's call costs more while CoreVital is on."""

from benchmarks import tokenizing
from opentelemetry_instrumentation_corevital.instrumentation.prompt_memory import ROWS_OF_A_CALL, recent_prompts
from tests.support.saved_models import word_tokenizer


def test_what_is_timed_is_what_remembers() -> None:
    tokenizer = word_tokenizer()
    found = {name: tokenizing.measured(tokenizer, *case, 1) for name, case in tokenizing.cases(3).items()}
    assert all(row["tokenizer_us"] > 0 < row["added_us"] for row in found.values())
    kept = {name: row["kept"] for name, row in found.items()}
    assert kept.pop("a data set") == 0
    assert set(kept.values()) <= {1, 2, 3}
    assert len(tokenizing.cases()["a batch"][0]) == ROWS_OF_A_CALL
    assert len(recent_prompts) == 0
