"""Somebody without the token floods a receiver: who has it is served meanwhile, and SIGTERM ends the process."""

from pathlib import Path

import pytest

from tests.support.flooded_receiver import MOST_GROWTH_MIB, flooded


@pytest.mark.acceptance
def test_who_has_the_token_is_served_while_others_flood(tmp_path: Path) -> None:
    figures = flooded(tmp_path, 8)
    print(figures)
    assert max(figures["http_most_s"], figures["grpc_most_s"]) < 2
    assert figures["memory_grew_mib"] < MOST_GROWTH_MIB
    assert figures["stopped_after_s"] < 20
