"""`corevital push`: what leaves, in the shapes that Phoenix and Langfuse document, and what is said where it cannot."""

import base64
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from opentelemetry.sdk.trace import ReadableSpan

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.cli import push_client
from opentelemetry_instrumentation_corevital.cli.push_client import PushClient
from tests.support.command_line import Cli
from tests.support.processes import free_port
from tests.support.rest_server import RestRequest, RestServer, rest_server
from tests.support.spans import make_call, make_spans

TEXT = {"type": "string", "minLength": 1}
METADATA = {
    "type": "object",
    "required": ["flags", "warnings"],
    "additionalProperties": False,
    "properties": {name: {"type": "array", "items": TEXT} for name in ("flags", "warnings")},
}
ANNOTATIONS = {
    "type": "object",
    "required": ["data"],
    "additionalProperties": False,
    "properties": {
        "data": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["span_id", "name", "annotator_kind", "identifier", "result"],
                "additionalProperties": False,
                "properties": {
                    "span_id": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
                    "name": {"const": "corevital.risk"},
                    "annotator_kind": {"enum": ["LLM", "CODE", "HUMAN"]},
                    "identifier": TEXT,
                    "metadata": METADATA,
                    "result": {
                        "type": "object",
                        "required": ["score", "label", "explanation"],
                        "additionalProperties": False,
                        "properties": {
                            "score": {"type": "number", "minimum": 0, "maximum": 1},
                            "label": {"enum": ["low", "medium", "high"]},
                            "explanation": {"type": "string"},
                        },
                    },
                },
            },
        }
    },
}
"""`AnnotateSpansRequestBody` of Phoenix 20.26.1, as we use it."""
SCORE = {
    "type": "object",
    "required": ["id", "traceId", "observationId", "name", "value", "dataType"],
    "additionalProperties": False,
    "properties": {
        "id": TEXT,
        "traceId": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "observationId": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
        "name": {"enum": ["corevital.risk", "corevital.risk_level"]},
        "value": True,
        "dataType": {"enum": ["NUMERIC", "CATEGORICAL"]},
        "comment": {"type": "string"},
        "metadata": METADATA,
    },
    "if": {"properties": {"dataType": {"const": "NUMERIC"}}},
    "then": {"properties": {"value": {"type": "number"}}},
    "else": {"properties": {"value": {"type": "string"}}},
}
"""`CreateScoreRequest` of Langfuse's public API, as we use it."""

TOLD = {semconv.RISK_SCORE: 0.9, semconv.RISK_LEVEL: "high", semconv.NARRATIVE: "It repeated itself."}
KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-2"}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KEYS, "PHOENIX_API_KEY", "PHOENIX_COLLECTOR_ENDPOINT", "LANGFUSE_HOST", "LANGFUSE_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(push_client, "_WAITS", (0.01, 0.02, 0.03))


def accepts(request: RestRequest) -> Any:
    """Answer as Phoenix and Langfuse do, to requests of their shape only."""
    if request.path == "/v1/span_annotations?sync=true":
        wrong, value = ANNOTATIONS, {"data": [{"id": str(n)} for n, _ in enumerate(request.body.get("data", []))]}
    elif request.path == "/api/public/scores":
        wrong, value = SCORE, {"id": request.body.get("id")}
    else:
        return 404, "Not Found"
    found = [error.message for error in Draft202012Validator(wrong).iter_errors(request.body)]
    return (422, {"detail": found}) if found else (200, value)


@pytest.fixture
def server() -> Iterator[RestServer]:
    with rest_server(accepts) as running:
        yield running


def ids(span: ReadableSpan) -> tuple[str, str]:
    assert span.context is not None
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def test_phoenix_gets_an_annotation_of_each_runs_span(cli: Cli, server: RestServer) -> None:
    spans = [*make_spans(1), *make_spans(1, **TOLD)]
    cli.store(spans)
    code, out, err = cli("push", "phoenix", "--endpoint", f"{server.url}/", "--db", str(cli.db))
    assert (code, out, err) == (0, f"2 runs pushed to {server.url}\n", "")
    (request,) = server.requests
    assert "authorization" not in request.headers
    high, low = request.body["data"]
    assert high == {
        "span_id": ids(spans[1])[1],
        "name": "corevital.risk",
        "annotator_kind": "CODE",
        "identifier": "corevital",
        "result": {"score": 0.9, "label": "high", "explanation": "It repeated itself."},
        "metadata": {"flags": ["repetition_loop_detected"], "warnings": ["repetition_risk"]},
    }
    assert (low["span_id"], low["result"]) == (ids(spans[0])[1], {"score": 0.25, "label": "low", "explanation": ""})


def test_langfuse_gets_the_number_and_the_level(cli: Cli, server: RestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LANGFUSE_HOST", f"{server.url}/api/public/otel")
    (span,) = spans = make_spans(1, **TOLD)
    cli.store(spans)
    for _ in range(2):
        assert cli("push", "langfuse", "--db", str(cli.db))[:2] == (0, f"1 run pushed to {server.url}\n")
    first, second = server.requests[:2], server.requests[2:]
    assert [each.body for each in first] == [each.body for each in second], "the same ids: Langfuse replaces them"
    trace, observation = ids(span)
    number, level = (each.body for each in first)
    common = {
        "traceId": trace,
        "observationId": observation,
        "comment": "It repeated itself.",
        "metadata": {"flags": ["repetition_loop_detected"], "warnings": ["repetition_risk"]},
    }
    own = {"id": f"corevital.risk-{trace}-{observation}", "name": "corevital.risk", "value": 0.9, "dataType": "NUMERIC"}
    assert number == {**common, **own}
    own = {"name": "corevital.risk_level", "value": "high", "dataType": "CATEGORICAL"}
    assert level == {**common, **own, "id": f"corevital.risk_level-{trace}-{observation}"}
    expected = base64.b64encode(b"pk-lf-1:sk-lf-2").decode()
    assert {each.headers["authorization"] for each in server.requests} == {f"Basic {expected}"}


def test_filters_choose_and_a_dry_run_sends_nothing(cli: Cli, server: RestServer) -> None:
    cli.store(make_spans(3), make_spans(1, **TOLD), make_call(2))
    to = ("push", "phoenix", "--endpoint", server.url, "--db", str(cli.db))
    code, out, err = cli(*to, "--risk-above", "0.7", "--dry-run")
    assert re.fullmatch(r"[0-9a-f]{12}:0  high 0\.90  It repeated itself\.\n", out)
    assert (code, err, server.requests) == (0, f"1 run would be sent to {server.url}\n", [])
    assert cli(*to, "--level", "high")[1] == f"1 run pushed to {server.url}\n"
    assert cli(*to, "--since", "2h", "--limit", "2")[1] == f"2 runs pushed to {server.url}\n"
    code, out, err = cli(*to)
    assert (code, out) == (0, f"4 runs pushed to {server.url}\n")
    assert err == "2 runs left out: no risk was judged\n"
    code, _, err = cli(*to, "--since", "2200-01-01")
    assert (code, err) == (1, "Error: No run matches.\n")


def test_many_runs_go_in_batches(cli: Cli, server: RestServer) -> None:
    cli.store(make_spans(230, events=0))
    assert cli("push", "phoenix", "--endpoint", server.url, "--db", str(cli.db))[0] == 0
    assert [len(each.body["data"]) for each in server.requests] == [100, 100, 30]
    assert len({item["span_id"] for each in server.requests for item in each.body["data"]}) == 230


def test_spans_that_phoenix_does_not_have_are_named_and_the_rest_is_sent(cli: Cli) -> None:
    spans = make_spans(8)
    cli.store(spans)
    there = {ids(span)[1] for span in spans[:2]}

    def reply(request: RestRequest) -> Any:
        missing = [each["span_id"] for each in request.body["data"] if each["span_id"] not in there]
        if missing:
            return 404, {"detail": f"Spans with IDs {', '.join(missing)} do not exist."}
        return accepts(request)

    with rest_server(reply) as phoenix:
        code, out, err = cli("push", "phoenix", "--endpoint", phoenix.url, "--db", str(cli.db))
    assert (code, out) == (1, f"2 runs pushed to {phoenix.url}\n")
    assert err.startswith("Error: Phoenix does not have the spans of 6 runs (yet): ")
    assert " and 1 more. Send them there by OTLP, wait a moment, and push again.\n" in err
    assert {each["span_id"] for each in phoenix.requests[-1].body["data"]} == there


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again_and_not_for_ever(cli: Cli, status: int) -> None:
    cli.store(make_spans(1))
    answers: list[Any] = [(status, "later")] * 2
    with rest_server(lambda request: answers.pop() if answers else accepts(request)) as phoenix:
        assert cli("push", "phoenix", "--endpoint", phoenix.url, "--db", str(cli.db))[0] == 0
        assert len(phoenix.requests) == 3
    with rest_server(lambda request: (status, "later")) as phoenix:
        code, out, err = cli("push", "phoenix", "--endpoint", phoenix.url, "--db", str(cli.db))
        assert (code, out) == (1, "")
        assert err == f"Error: {phoenix.url}/v1/span_annotations: answered {status}: later\n"
        assert len(phoenix.requests) == 4


def test_a_server_says_how_long_to_wait_but_not_too_long() -> None:
    waits: list[float] = []
    answers: list[Any] = [(429, "", {"Retry-After": text}) for text in ("3600", "Wed, 21 Oct 2026 07:28:00 GMT", "7")]
    with rest_server(lambda request: answers.pop() if answers else (200, {})) as server:
        client = PushClient(server.url, {}, "KEY", wait=waits.append)
        assert client.post("/any", {}).value == {}
    assert waits == [7.0, 0.02, 30.0]


def refusing(*answer: Any) -> Callable[[RestRequest], Any]:
    return lambda request: answer


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (refusing(401, "no"), "refused the key (401); set PHOENIX_API_KEY."),
        (refusing(403, {"detail": "no"}), "refused the key (403); set PHOENIX_API_KEY."),
        (refusing(301, "", {"Location": "https://other"}), "sends elsewhere (301); give --endpoint that address."),
        (refusing(404, "<html>nothing\nhere</html>"), "/v1/span_annotations: answered 404: <html>nothing"),
        (
            refusing(422, {"detail": "s3cr3t-key is bad"}),
            '/v1/span_annotations: answered 422: {"detail": "*** is bad"}',
        ),
        (refusing(200, "<html>a page</html>"), "/v1/span_annotations: answered 200: <html>a page</html>"),
        (refusing(405, "Method Not Allowed"), "/v1/span_annotations: answered 405: Method Not Allowed"),
    ],
)
def test_a_refusal_says_what_to_do_and_no_secret(
    cli: Cli, reply: Callable[[RestRequest], Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOENIX_API_KEY", "s3cr3t-key")
    cli.store(make_spans(1))
    with rest_server(reply) as phoenix:
        code, out, err = cli("push", "phoenix", "--endpoint", phoenix.url, "--db", str(cli.db))
    assert (code, out) == (1, "")
    assert told in err
    assert "s3cr3t" not in err
    assert len(phoenix.requests) == 1, "nothing is tried again that cannot help"
    assert phoenix.requests[0].headers["authorization"] == "Bearer s3cr3t-key"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((200, "[" * 200_000), "answered 200: [[["),
        ((400, "no\xff", {"Content-Type": "text/plain; charset=idna"}), "answered 400: no"),
        ((400, "\x1b[31mno"), r"answered 400: \x1b[31mno"),
        ((400, "no\n" * 10_000_000), r"answered 400: no\x0ano\x0a"),
        ((503, "no", {"Retry-After": "\xb2"}), "answered 503: no"),
    ],
    ids=["nested", "odd encoding", "escapes", "huge", "odd wait"],
)
def test_an_odd_answer_is_told_as_it_is(cli: Cli, answer: Any, told: str) -> None:
    cli.store(make_spans(1))
    begun = time.monotonic()
    with rest_server(lambda _: answer) as phoenix:
        code, out, err = cli("push", "phoenix", "--endpoint", phoenix.url, "--db", str(cli.db))
    assert (code, out) == (1, "")
    assert f"Error: {phoenix.url}/v1/span_annotations: {told}" in err  # the server complains there, too
    assert time.monotonic() - begun < 10, "30 MB take no longer than their beginning"


@pytest.mark.parametrize("host", ["a..b", "a" * 300, "exa mple"])
def test_a_host_that_is_no_name_cannot_be_reached(cli: Cli, host: str) -> None:
    cli.store(make_spans(1))
    code, out, err = cli("push", "phoenix", "--endpoint", f"http://{host}", "--db", str(cli.db))
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: http://{host}: cannot be reached (")


def test_a_key_may_have_a_lines_end_behind_it_and_no_error_repeats_one_that_no_header_takes(
    cli: Cli, server: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.store(make_spans(1))
    monkeypatch.setenv("PHOENIX_API_KEY", "s3cr3t-key\n")
    assert cli("push", "phoenix", "--endpoint", server.url, "--db", str(cli.db))[0] == 0
    assert server.requests[-1].headers["authorization"] == "Bearer s3cr3t-key"
    for key in ("s3cr3t\nkey", "s3cr3t-\u2603"):
        monkeypatch.setenv("PHOENIX_API_KEY", key)
        code, _, err = cli("push", "phoenix", "--endpoint", server.url, "--db", str(cli.db))
        assert code == 1
        assert err.startswith("Error: PHOENIX_API_KEY: has characters that no key has")
        assert "s3cr3t" not in err


def test_what_cannot_be_reached_is_said_so(cli: Cli) -> None:
    cli.store(make_spans(1))
    url = f"http://127.0.0.1:{free_port()}"
    code, out, err = cli("push", "phoenix", "--endpoint", url, "--db", str(cli.db))
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {url}: cannot be reached (")
    assert "Traceback" not in err


def test_langfuse_without_keys_and_bad_addresses_are_refused_before_anything_is_sent(
    cli: Cli, server: RestServer
) -> None:
    cli.store(make_spans(1))
    code, _, err = cli("push", "langfuse", "--endpoint", server.url, "--db", str(cli.db))
    assert (code, err) == (1, "Error: Langfuse asks for its keys: set LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY.\n")
    for bad in ("localhost:6006", "ftp://host", "http://", "http://host:port", "http://host/#page"):
        code, _, err = cli("push", "phoenix", "--endpoint", bad, "--db", str(cli.db))
        assert code == 1
        assert err.startswith(f"Error: --endpoint {bad.partition('#')[0]}: give a URL, such as http://localhost:6006.")
    assert not server.requests


def test_a_push_that_breaks_off_says_how_far_it_came(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    cli.store(make_spans(3))
    left = [5]

    def reply(request: RestRequest) -> Any:
        left[0] -= 1
        return accepts(request) if left[0] >= 0 else (401, "expired")

    with rest_server(reply) as langfuse:
        code, out, err = cli("push", "langfuse", "--endpoint", langfuse.url, "--db", str(cli.db))
    assert (code, out) == (1, "")
    assert "refused the key (401); set LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY." in err
    assert err.rstrip().endswith("2 runs of 3 were pushed; push again: what is there is replaced.")
