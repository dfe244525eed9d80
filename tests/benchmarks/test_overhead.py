"""The overhead benchmark: its goals, its tables, and one run of a toy through a real exporter."""

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from opentelemetry_instrumentation_corevital.overhead.overhead_error import OverheadError

FOLDER = Path(__file__).parents[2] / "benchmarks" / "overhead"

pytestmark = [
    pytest.mark.skipif(not FOLDER.is_dir(), reason="only a checkout has the benchmarks"),
    pytest.mark.xdist_group("overhead"),  # its run is made once
]


@pytest.fixture(scope="module")
def parts() -> Iterator[dict[str, Any]]:
    """The benchmark's modules, which lie in a folder that is no package."""
    sys.path.insert(0, str(FOLDER))
    before = set(sys.modules)
    try:
        yield {
            name: importlib.import_module(name)
            for name in (
                "cases",
                "place",
                "launches",
                "models",
                "page",
                "plot",
                "report",
                "verdict",
            )
        }
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(FOLDER)):
                del sys.modules[name]


@pytest.fixture(scope="module")
def report(parts: dict[str, Any]) -> dict[str, Any]:
    """A run of a toy, as it is read from its file."""
    import dataclasses

    import torch

    case = dataclasses.replace(
        parts["cases"].CASES["tiny"], arms=("off", "summary", "naive"), new_tokens=9, goals={"summary": 1.01}, rounds=2
    )
    model = parts["models"].load(case.model, torch.device("cpu"), torch.float32, 0)
    made = parts["report"].run_case(case, model, warmup=0, seed=0, budget=None, profile=True, label="a commit")
    return dict(json.loads(parts["report"].as_json(made)))


def figure(low: float, high: float) -> dict[str, Any]:
    return {"median": (low + high) / 2, "p10": low, "p90": high, "ci95": [low, high]}


def stub(control: dict[str, Any], own: dict[str, Any], most: float, like_control: bool = False) -> dict[str, Any]:
    return {
        "goals": {"measures": ["call"], "arms": {"summary": most}, "like_control": like_control},
        "arms": {"plain-again": {"call": control, "pairs": 30}, "summary": {"call": own, "pairs": 30}},
    }


def test_a_goal_is_reached_by_the_upper_end_of_the_interval(parts: dict[str, Any]) -> None:
    def reached(*given: Any) -> bool:
        (goal,) = parts["verdict"].goals(stub(*given))
        return bool(goal.reached)

    around = figure(0.998, 1.002)
    assert reached(around, figure(1.0, 1.01), 1.01)
    assert not reached(around, figure(0.99, 1.0101), 1.01)
    assert reached(around, figure(1.001, 1.004), 1.0, True), "cannot be told from the A/A arm"
    assert not reached(around, figure(1.003, 1.004), 1.0, True)


def test_a_run_measures_every_arm_and_sends_its_telemetry(report: dict[str, Any]) -> None:
    arms = report["arms"]
    assert list(arms) == ["plain-again", "off", "summary", "naive"]
    for found in arms.values():
        assert found["pairs"] == found["pairs_with_the_same_tokens"] == 2
        assert all(found[measure]["median"] > 0 for measure in ("call", "first", "step", "decode"))
    assert {name: found["spans_per_call"] for name, found in arms.items()} == {
        "plain-again": 0,
        "off": 0,
        "summary": 1,
        "naive": 0,
    }
    assert report["method"]["rounds"] == 2
    assert report["environment"]["commit"] == "a commit"
    assert set(report["telemetry"]["received"]) >= {"/v1/traces", "/v1/metrics"}
    launches = report["launches"]
    assert launches["plain"]["aten_ops"] == launches["off"]["aten_ops"] < launches["summary"]["aten_ops"]


def test_a_profile_is_counted_by_what_the_host_and_the_device_did(parts: dict[str, Any]) -> None:
    from types import SimpleNamespace

    from torch.autograd import DeviceType

    def event(name: str, device: DeviceType = DeviceType.CPU, mark: bool = False) -> SimpleNamespace:
        elapsed = SimpleNamespace(elapsed_us=lambda: 2.5)
        return SimpleNamespace(name=name, device_type=device, is_user_annotation=mark, time_range=elapsed)

    host = ["aten::add", "aten::mul", "cudaLaunchKernel", "cuLaunchKernelEx", "cudaMemcpyAsync", "ProfilerStep#1"]
    device = ["void kernel<float>", "triton_norms", "Memcpy DtoH (Device -> Pinned)", "Memset (Device)"]
    events = [*map(event, host), *(event(name, DeviceType.CUDA) for name in device)]
    events.append(event("a range", DeviceType.CUDA, mark=True))
    found = parts["launches"].counts(events, cuda=True)
    assert found == {"aten_ops": 2, "launches": 2, "kernels": 2, "memcpy": 1, "memset": 1, "cuda_us": 10.0}


def test_the_page_holds_the_tables_and_the_plot(parts: dict[str, Any], report: dict[str, Any], tmp_path: Path) -> None:
    page, files = tmp_path / "page.md", []
    (tmp_path / "results").mkdir()
    page.write_text("before\n<!-- overhead: begin -->\nold\n<!-- overhead: end -->\nafter\n")
    for batch in (1, 4):
        files.append(tmp_path / f"{batch}.json")
        files[-1].write_text(json.dumps(report | {"workload": report["workload"] | {"batch": batch}}))
    parts["page"].render(page, files)
    text = page.read_text()
    assert text.startswith("before\n<!-- overhead: begin -->\n\n### Goals")
    assert text.endswith("<!-- overhead: end -->\nafter\n")
    assert "\nold\n" not in text
    assert len(re.findall(r"^### tiny", text, re.MULTILINE)) == 2
    assert "but under 30 pairs" in text
    drawing = ElementTree.parse(tmp_path / "results" / "overhead.svg").getroot()
    assert len(drawing.findall(".//{*}circle")) == 2  # summary at two batches


def test_a_file_of_another_format_is_refused(parts: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text('{"format": "corevital overhead 1"}')
    with pytest.raises(OverheadError, match="is no report"):
        parts["report"].read_report(tmp_path / "old.json")


@pytest.mark.parametrize("output", [["--output", "/tmp/some folder"], ["--output=/tmp/here"], []])
def test_the_recorded_command_does_not_say_where_the_results_went(parts: dict[str, Any], output: list[str]) -> None:
    arguments = ["benchmarks/overhead", *output, "--case", "tiny"]
    assert parts["place"].command(arguments) == "python benchmarks/overhead --case tiny"
