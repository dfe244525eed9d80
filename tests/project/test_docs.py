"""What the documentation and the vocabulary say is what the code does."""

import ast
import importlib
import json
import re
from pathlib import Path

import pytest

import opentelemetry_instrumentation_corevital as package
from opentelemetry_instrumentation_corevital import environment_variables, semconv
from opentelemetry_instrumentation_corevital.assessment.early_warning import SIGNALS
from opentelemetry_instrumentation_corevital.catalogue import signals, verdicts
from opentelemetry_instrumentation_corevital.catalogue.prompt_columns import COLUMNS as PROMPT_COLUMNS
from opentelemetry_instrumentation_corevital.config import CONTENT_ENV, Settings, environment_variable
from opentelemetry_instrumentation_corevital.run import COLUMNS, CROSS_SIGNALS, HIDDEN_SIGNALS, SELF_SIGNALS
from tests.support.markdown import anchors

IN_ROW = set(signals.names(signals.in_row()))
ROOT = Path(__file__).parents[2]
SOURCE = Path(package.__file__).parent
VOCABULARY = [
    SOURCE / "semconv.py",
    *(SOURCE / "catalogue" / f"{name}_names.py" for name in ("intervention", "prompt", "prompt_span", "rag")),
]


def test_the_pages_made_from_the_code_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    generate = importlib.import_module("generate")
    made = {name: page() for name, page in generate.PAGES.items()}
    made |= {f"schemas/{name}": text for name, text in generate.run_schema.pages().items()}
    made |= {f"../{path}": text for path, text in generate.collector_files.files().items()}
    for name, text in made.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, f"run `make docs` ({name})"


FIELDS = {
    "metrics.md": ["definition", "unit", "default", "carried by", "evidence", "measured", "when it stands out"],
    "judgement.md": ["definition", "unit", "default", "evidence", "measured", "when it fires"],
}


def entries(name: str) -> dict[str, str]:
    """Return the entries of a page: name -> text. Each has all fields, and none is empty."""
    found = {}
    for text in (ROOT / "docs" / name).read_text(encoding="utf-8").split("\n### ")[1:]:
        heading, _, body = text.partition("\n")
        rows = re.findall(r"^\| ([a-z ]+) \| (.+) \|$", body.split("\n## ")[0], re.M)[: len(FIELDS[name])]
        assert [field for field, _ in rows] == FIELDS[name], heading
        found |= dict.fromkeys(re.findall(r"`([^`]+)`", heading), body)
    return found


OF_PROMPT = {each.name for each in PROMPT_COLUMNS if each.entry is not None}


def test_every_signal_has_an_entry() -> None:
    assert {*COLUMNS, *HIDDEN_SIGNALS, *SELF_SIGNALS, *CROSS_SIGNALS} < IN_ROW
    assert {"hidden_cosine", "attention_previous_heads"} < IN_ROW
    assert entries("metrics.md").keys() == IN_ROW | OF_PROMPT | {"alternatives", "fingerprint.vector"}


def test_every_verdict_has_an_entry() -> None:
    expected = {
        *semconv.HEALTH_FLAGS,
        *SIGNALS,
        *("high_entropy_steps", "high_entropy_share", "failure_risk", "risk_so_far"),
        *(signal.name for signal in verdicts.COMPOUND),
        *("risk", "answer", "answer_so_far", "blame", "fingerprint", "narrative"),
    }
    assert entries("judgement.md").keys() == expected


def test_a_page_that_asks_for_a_figure_that_is_not_there_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    templated = importlib.import_module("templated")
    for place in ("{{figure NaN and infinity | no such row}}", "{{carriers no_such_word}}", "{{nothing}}"):
        with pytest.raises(KeyError):
            templated.filled(place)
    assert templated.filled("{{limit gram}} of {{limit norm_jump}}") == "4 of 1.8"


def test_every_setting_is_read_and_has_its_variable() -> None:
    code = "\n".join(path.read_text() for path in SOURCE.rglob("*.py") if path.name != "config.py")
    config = (SOURCE / "config.py").read_text()
    derived = {"capture_message_content": "content_on_span"}
    for option in Settings.model_fields:
        name = derived.get(option, option)
        assert re.search(rf"\.{name}\b", code), f"nothing reads {option}"
        variable = environment_variable(option)
        if variable != CONTENT_ENV:
            assert getattr(environment_variables, variable) == variable
    assert "content_on_span" in config


NAMES_OF_SIGNALS = (
    [each.summary_name(summary.statistic) for each in signals.with_summaries() for summary in each.summaries],
    [each.series_name for each in signals.with_series()],
    [signals.index_name(family) for family in signals.FAMILIES if family.index],
    [each.layers_name for each in signals.SIGNALS if each.layer_array is not None],
    [each.step_name for each in signals.step_fields(full=True)],
    [each.gauge_name for each in signals.SIGNALS if each.gauge],
    [each.step_name for each in signals.with_histogram()],
)


def test_every_name_in_the_vocabulary_is_used() -> None:
    constants = {
        target.id: node.value
        for path in VOCABULARY
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.AnnAssign)
        and isinstance(target := node.target, ast.Name)
        and re.match(r"(define|attribute|step_attribute|metric|known)\(|VERDICTS\[", ast.unparse(node.value or target))
    }
    # What the catalogue makes is used by whoever reads its table; a constant only spells it for those who import it.
    made = {
        name
        for name, value in constants.items()
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "known"
    }
    from_catalogue = {name for table in NAMES_OF_SIGNALS for name in table}
    assert {getattr(semconv, name) for name in made} <= from_catalogue
    spelled = [name for name, value in constants.items() if isinstance(value, ast.Call) and name not in made]
    verdicts = len(semconv.HEALTH_FLAGS) + len(semconv.VERDICTS)
    both = [
        name
        for kind, name in semconv.DEFINITIONS
        if kind == "event attribute" and ("attribute", name) in semconv.DEFINITIONS
    ]
    assert len(spelled) + verdicts + len(both) + sum(map(len, NAMES_OF_SIGNALS)) == len(semconv.DEFINITIONS)
    code = "\n".join(path.read_text() for path in SOURCE.rglob("*.py") if path not in VOCABULARY)
    modules = "|".join(path.stem for path in VOCABULARY)
    unused = [name for name in constants.keys() - made if not re.search(rf"({modules})\.{name}\b", code)]
    assert unused == []
    literal = set(re.findall(r'"(?:corevital|gen_ai)\.[a-z_.]+"', code)) - {'"corevital.risk"', '"corevital.db"'}
    assert literal == set(), "names are spelled where the vocabulary is, only"


def test_public_names_exist() -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError):
        _ = package.nothing_of_this_name


def test_every_column_of_the_run_data_is_described() -> None:
    page = (ROOT / "docs" / "run-data.md").read_text()
    for name in IN_ROW:
        assert f"`{name}`" in page, name


def test_the_figures_of_the_store_are_those_that_were_measured() -> None:
    page = (ROOT / "docs" / "store-reference.md").read_text(encoding="utf-8").partition("## What it costs")[2]
    measured = json.loads((ROOT / "docs" / "results" / "store.json").read_text(encoding="utf-8"))
    many, real = measured["many_runs"], measured["real"]
    figures = [
        *(measured[mode][name] for mode in ("full", "summary") for name in ("steps_per_second", "bytes_per_step")),
        *(real[mode]["bytes_per_step"] for mode in ("full", "summary")),
        *(each[name] for each in many["growth"] for name in ("runs", "bytes_per_run", "runs_per_second")),
        max(many["list_ms"].values()),
        many["show_ms"],
        many["show_full_run_with_its_data_ms"],
    ]
    for figure in figures:
        assert re.search(rf"(?<![\d.,]){re.escape(f'{figure:,}')}(?![\d])", page), figure
    assert measured["command"].removesuffix(" --runs 100000") in page


@pytest.mark.parametrize(
    "page",
    [
        page
        for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "benchmarks/**/*.md")
        for page in ROOT.glob(pattern)
    ],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_lead_somewhere(page: Path) -> None:
    # A template's page lies in the folder above it.
    folder = page.parent.parent if page.parent.name == "templates" else page.parent
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target) or "{{" in target:
            continue
        place, _, anchor = target.partition("#")
        linked = (folder / place).resolve() if place else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_has_an_object_in_place_of_its_text(page: Path) -> None:
    assert not re.search(r"<bound method|<function | object at 0x", page.read_text(encoding="utf-8"))
