"""With TLS and a token on both sides: program -> Collector -> store; and nothing without them."""

import ssl
import subprocess
from pathlib import Path
from shutil import which
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from tests.support.collect_process import PROTOBUF, collecting, spans_request
from tests.support.collectors import collector
from tests.support.processes import wait_until
from tests.support.spans import make_spans
from tests.support.store_contents import contents

pytestmark = [pytest.mark.wire, pytest.mark.xdist_group("wire")]


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 and its key."""
    if which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    subprocess.run([*command.split(), names, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


def test_tls_and_tokens_all_the_way(
    otelcol: str, certificate: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)  # they would win over the exporter's own certificate
    cert, key = certificate
    token = {"COREVITAL_COLLECT_TOKEN": "store-token"}
    with collecting(tmp_path, "--tls-cert", cert, "--tls-key", key, environment=token) as receiver:
        variables = {
            **token,
            "COREVITAL_OTLP_ENDPOINT": f"https://127.0.0.1:{receiver.http}",
            "COREVITAL_OTLP_CA_FILE": cert,
            "COREVITAL_COLLECTOR_CERT": cert,
            "COREVITAL_COLLECTOR_KEY": key,
            "COREVITAL_COLLECTOR_TOKEN": "collector-token",
        }
        with collector(otelcol, tmp_path / "collector", "secure", **variables) as between:
            url, context = f"https://{between.http}/v1/traces", ssl.create_default_context(cafile=cert)
            for sent in ({}, {"authorization": "Bearer store-token"}):
                request = Request(url, spans_request().SerializeToString(), {"content-type": PROTOBUF, **sent})
                with pytest.raises(HTTPError) as refused:
                    urlopen(request, context=context, timeout=10)
                assert refused.value.code == 401
            assert between.post(spans_request().SerializeToString()) == 400  # not TLS
            headers = {"authorization": "Bearer collector-token"}
            assert OTLPSpanExporter(url, certificate_file=cert, headers=headers).export(make_spans(3)).name == "SUCCESS"
            wait_until(lambda: len(contents(receiver.db, "spans")) == 3)
            for secret in ("store-token", "collector-token"):
                assert secret not in between.log.read_text()
