"""Health has the flags of the catalogue, with a field of their own or without; every verdict has a definition."""

import copy
import pickle
from dataclasses import fields
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital.assessment import compound, early_warning, health, risk
from opentelemetry_instrumentation_corevital.catalogue import verdicts
from opentelemetry_instrumentation_corevital.run import Health

PICKLED_BEFORE_OTHERS = (
    b"\x80\x04\x95\x8c\x00\x00\x00\x00\x00\x00\x00\x8c+opentelemetry_instrumentation_corevital.run\x94\x8c\x06Health"
    b"\x94\x93\x94)\x81\x94]\x94(\x89\x88NK\x03N\x88}\x94\x8c\x0cinf_detected\x94}\x94\x8c\x04step\x94K\x01ss}\x94\x8c"
    b"\x18repetition_loop_detected\x94\x8c\x03why\x94sNeb."
)
"""Of a Health before it had `others`."""


def test_every_verdict_has_a_definition() -> None:
    assert health.JUDGES.keys() == verdicts.FLAG.keys()
    assert compound.JUDGES.keys() == {signal.name for signal in verdicts.COMPOUND}
    assert tuple(warning.name for warning in verdicts.EARLY_WARNINGS) == early_warning.SIGNALS
    assert risk.FLAG_RISK.keys() == verdicts.FLAG.keys()
    own = {each.name for each in fields(Health) if each.name.endswith("_detected")}
    assert own <= verdicts.FLAG.keys()


def test_a_flag_without_a_field_is_read_like_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(verdicts.FLAG, "toy_detected", verdicts.FLAGS[0])
    judged = Health.of(
        {"nan_detected": False, "inf_detected": None, "toy_detected": True}, high_entropy_steps=2, absent={"a": "b"}
    )
    assert (judged.toy_detected, judged.nan_detected, judged.inf_detected) == (True, False, None)
    assert judged.flags() == {"nan_detected": False, "toy_detected": True}
    assert judged.raised() == ["toy_detected"]
    for again in (pickle.loads(pickle.dumps(judged)), copy.deepcopy(judged)):
        assert again == judged
        assert again.toy_detected is True
    assert Health(False, False, False, 0).toy_detected is None


def test_what_is_no_flag_is_no_attribute() -> None:
    judged: Any = Health(False, None, True, 6)
    with pytest.raises(AttributeError, match="its flags are nan_detected, inf_detected"):
        _ = judged.nan_detectd
    assert judged.flags() == {"nan_detected": False, "repetition_loop_detected": True}


def test_health_that_was_pickled_before_opens() -> None:
    old = pickle.loads(PICKLED_BEFORE_OTHERS)
    evidence, absent = {"inf_detected": {"step": 1}}, {"repetition_loop_detected": "why"}
    assert old == Health(False, True, None, 3, None, True, evidence, absent)
    assert old.flags() == {"nan_detected": False, "inf_detected": True, "mid_layer_anomaly_detected": True}
