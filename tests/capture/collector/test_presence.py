"""What is there, empty at a step or absent for the rest of a run is decided by `Presence` alone."""

import numpy as np
import pytest
import torch

from opentelemetry_instrumentation_corevital.capture.collector.presence import (
    GROUPS,
    Presence,
    in_row,
    why_no_attention,
)
from opentelemetry_instrumentation_corevital.capture.collector.step import Step
from opentelemetry_instrumentation_corevital.capture.row.layout import LOGIT_WIDTH


def known() -> Presence:
    """Return what the first step of a model of four layers makes, of which the third has no attention."""
    presence = Presence(4)
    assert presence.fits("hidden", (0, 1, 2, 3))
    assert presence.fits("attention", (0, 1, 3))
    assert presence.fits("heads", (1,), 2)
    presence.step = 1
    return presence


def test_the_first_step_makes_the_layout_and_later_ones_have_to_fit() -> None:
    presence = known()
    layout = presence.layout
    assert presence.fits("hidden", (0, 1, 2, 3))
    assert not presence.fits("hidden", (0, 1, 2))
    assert not presence.fits("attention", (0, 1, 2, 3))
    assert not presence.fits("cross", (0,))
    assert presence.layout == layout
    assert layout.of("attention") == (0, 1, 3)
    assert layout.blocks["heads"].width == 2


def test_what_the_first_step_lacks_has_no_place() -> None:
    presence = Presence(2)
    presence.fits("hidden", (0, 1))
    presence.lose("hidden_states", "a reason")
    assert presence.layout.width(attention=False) == LOGIT_WIDTH
    assert presence.absent == {"hidden_states": "a reason"}


def test_what_is_lost_later_keeps_its_place() -> None:
    presence = known()
    widths = [presence.layout.width(attention=attention) for attention in (False, True)]
    presence.lose("hidden_states", "a reason")
    presence.lose("attention", "another")
    assert [presence.layout.width(attention=attention) for attention in (False, True)] == widths
    assert presence.absent == {"hidden_states": "a reason", "attention": "another"}


@pytest.mark.parametrize("step", [0, 1])
def test_an_internal_error_makes_everything_absent(step: int) -> None:
    presence = known()
    presence.step = step
    presence.fail(ZeroDivisionError())
    assert presence.absent == dict.fromkeys(GROUPS, "internal error (ZeroDivisionError)")
    assert ("hidden" in presence.layout.blocks) is (step > 0)


@pytest.mark.parametrize("has", ["hidden attention heads", "attention heads", "hidden", ""])
def test_a_family_of_every_step_leaves_its_place_empty_and_the_others_leave_no_place(has: str) -> None:
    layout, step = known().layout, Step(1, torch.zeros(2, 5), edited=False)
    parts = {name: torch.full((2, layout.blocks[name].width), 1.0) for name in has.split()}
    row = torch.cat(in_row(layout, parts, step), -1)
    assert LOGIT_WIDTH + row.shape[1] == layout.width(attention="attention" in has)
    for name in ("hidden", "attention", "heads"):
        span = layout.blocks[name].span
        numbers = row[:, span.start - LOGIT_WIDTH : span.stop - LOGIT_WIDTH]
        if name in has.split():
            assert (numbers == 1.0).all()
        else:
            assert numbers.isnan().all()
            assert numbers.numel() == (2 * layout.blocks[name].width if name == "hidden" else 0)


def test_a_run_whose_attention_has_no_number_says_why() -> None:
    nothing = np.full((3, 2), np.nan, np.float32)
    some = nothing.copy()
    some[2, 1] = 0.5
    assert why_no_attention(1, {"attention_entropy": some}) is None
    assert "not finite" in (why_no_attention(1, {"attention_entropy": nothing}) or "")
    assert "overwritten" in (why_no_attention(0, {"attention_entropy": nothing}) or "")
