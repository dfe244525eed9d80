"""Environment variables of CoreVital, as the entry point `opentelemetry_environment_variables` wants them.

`opentelemetry-instrument` turns every name here into a command-line option.
"""

OTEL_COREVITAL_ENABLED = "OTEL_COREVITAL_ENABLED"
"""
.. envvar:: OTEL_COREVITAL_ENABLED

`false` switches CoreVital off.
"""

OTEL_COREVITAL_CAPTURE = "OTEL_COREVITAL_CAPTURE"
"""
.. envvar:: OTEL_COREVITAL_CAPTURE

How much is reported of a run: `summary` (default), `full`, or `on_risk`.
"""

OTEL_COREVITAL_CAPTURE_UNSAMPLED = "OTEL_COREVITAL_CAPTURE_UNSAMPLED"
"""
.. envvar:: OTEL_COREVITAL_CAPTURE_UNSAMPLED

`true` measures and judges runs whose span is not recorded too.
"""

OTEL_COREVITAL_STEP_EVENTS = "OTEL_COREVITAL_STEP_EVENTS"
"""
.. envvar:: OTEL_COREVITAL_STEP_EVENTS

Carrier of the `corevital.step` events: `span` (default) or `off`.
"""

OTEL_COREVITAL_MAX_STEP_EVENTS = "OTEL_COREVITAL_MAX_STEP_EVENTS"
"""
.. envvar:: OTEL_COREVITAL_MAX_STEP_EVENTS

Largest number of `corevital.step` events of a span (default and largest value 96).
"""

OTEL_COREVITAL_MAX_SPAN_BYTES = "OTEL_COREVITAL_MAX_SPAN_BYTES"
"""
.. envvar:: OTEL_COREVITAL_MAX_SPAN_BYTES

Bytes of an encoded span (default 32768 in summary, 65536 in full).
"""

OTEL_COREVITAL_HIGH_ENTROPY_BITS = "OTEL_COREVITAL_HIGH_ENTROPY_BITS"
"""
.. envvar:: OTEL_COREVITAL_HIGH_ENTROPY_BITS

Entropy in bits above which a step counts as high (default 4.0).
"""

OTEL_COREVITAL_RISK_THRESHOLD = "OTEL_COREVITAL_RISK_THRESHOLD"
"""
.. envvar:: OTEL_COREVITAL_RISK_THRESHOLD

Risk from which `capture=on_risk` reports a run in full (default 0.7).
"""

OTEL_COREVITAL_PROMPT_HASH = "OTEL_COREVITAL_PROMPT_HASH"
"""
.. envvar:: OTEL_COREVITAL_PROMPT_HASH

How the prompt's text is hashed: `sha256` (default), `hmac` or `off`.
"""

OTEL_COREVITAL_HASH_KEY = "OTEL_COREVITAL_HASH_KEY"
"""
.. envvar:: OTEL_COREVITAL_HASH_KEY

Secret key of `OTEL_COREVITAL_PROMPT_HASH=hmac`.
"""

OTEL_COREVITAL_SQLITE_PATH = "OTEL_COREVITAL_SQLITE_PATH"
"""
.. envvar:: OTEL_COREVITAL_SQLITE_PATH

File of the exporter `corevital_sqlite` (default `corevital/corevital.db` in the XDG data folder).
"""
