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

OTEL_COREVITAL_CAPTURE_RATIO = "OTEL_COREVITAL_CAPTURE_RATIO"
"""
.. envvar:: OTEL_COREVITAL_CAPTURE_RATIO

Share of the calls that are measured, from 0 to 1 (default 1.0).
"""

OTEL_COREVITAL_STATUS_ON = "OTEL_COREVITAL_STATUS_ON"
"""
.. envvar:: OTEL_COREVITAL_STATUS_ON

`high`: a run of high risk gets the span status ERROR; `medium`: one of medium risk, too; `off` (the default): none.
"""

OTEL_COREVITAL_OPENINFERENCE = "OTEL_COREVITAL_OPENINFERENCE"
"""
.. envvar:: OTEL_COREVITAL_OPENINFERENCE

`true`: where content is on, prompt and answer also as OpenInference's `input.value` and `output.value`.
"""

OTEL_COREVITAL_KERNELS = "OTEL_COREVITAL_KERNELS"
"""
.. envvar:: OTEL_COREVITAL_KERNELS

`auto` (the default): fused Triton kernels on CUDA, where they run; `off`: torch's own operations everywhere.
"""

OTEL_COREVITAL_ATTENTION_EVERY = "OTEL_COREVITAL_ATTENTION_EVERY"
"""
.. envvar:: OTEL_COREVITAL_ATTENTION_EVERY

Attention is looked at on every n-th step; 0: never (default 8 in summary, else 1).
"""

OTEL_COREVITAL_PROMPT_ANALYSIS = "OTEL_COREVITAL_PROMPT_ANALYSIS"
"""
.. envvar:: OTEL_COREVITAL_PROMPT_ANALYSIS

What is told of the prompt while the model reads it: `off` (default), `summary`, or `full`.
"""

OTEL_COREVITAL_LAYERS = "OTEL_COREVITAL_LAYERS"
"""
.. envvar:: OTEL_COREVITAL_LAYERS

Layers that are looked at: `all` (default), or indices and ranges such as `0,4..7,-1`.
"""

OTEL_COREVITAL_RUN_DATA = "OTEL_COREVITAL_RUN_DATA"
"""
.. envvar:: OTEL_COREVITAL_RUN_DATA

Every step x signal x layer as log events: `auto` (default: of runs that are reported in full), `on` or `off`.
"""

OTEL_COREVITAL_STEP_EVENTS = "OTEL_COREVITAL_STEP_EVENTS"
"""
.. envvar:: OTEL_COREVITAL_STEP_EVENTS

Carrier of the `corevital.step` events: `span` (default), `logs` (as log events, all, while the run goes on) or `off`.
"""

OTEL_COREVITAL_MAX_STEP_EVENTS = "OTEL_COREVITAL_MAX_STEP_EVENTS"
"""
.. envvar:: OTEL_COREVITAL_MAX_STEP_EVENTS

Largest number of `corevital.step` events of a span (default and largest value 96).
"""

OTEL_COREVITAL_MAX_SPAN_BYTES = "OTEL_COREVITAL_MAX_SPAN_BYTES"
"""
.. envvar:: OTEL_COREVITAL_MAX_SPAN_BYTES

Bytes of an encoded span (default 49152 in summary, 81920 in full).
"""

OTEL_COREVITAL_HIGH_ENTROPY_BITS = "OTEL_COREVITAL_HIGH_ENTROPY_BITS"
"""
.. envvar:: OTEL_COREVITAL_HIGH_ENTROPY_BITS

Entropy in bits above which a step counts as high (default 4.0).
"""

OTEL_COREVITAL_BASELINE = "OTEL_COREVITAL_BASELINE"
"""
.. envvar:: OTEL_COREVITAL_BASELINE

What is usual for a model: `auto` (default: its calibrated or packaged profile, else what is learned from its own runs
as they are served), `off` (none is read or learned), or the name or path of one (nothing is learned).
"""

OTEL_COREVITAL_PROFILE = "OTEL_COREVITAL_PROFILE"
"""
.. envvar:: OTEL_COREVITAL_PROFILE

Older name of OTEL_COREVITAL_BASELINE, with the same values; give one of them.
"""

OTEL_COREVITAL_RISK_THRESHOLD = "OTEL_COREVITAL_RISK_THRESHOLD"
"""
.. envvar:: OTEL_COREVITAL_RISK_THRESHOLD

Risk from which `capture=on_risk` reports a run in full (default 0.7).
"""

OTEL_COREVITAL_STOP_ON = "OTEL_COREVITAL_STOP_ON"
"""
.. envvar:: OTEL_COREVITAL_STOP_ON

Ends a sequence where one of these begins to be true, with commas between them: health flags such as `repetition_loop`,
early warnings, `risk>0.9`, `failure_risk>0.9`, `answer>0.9` (default: nothing is ended).
"""

OTEL_COREVITAL_MAX_INTERVENTIONS = "OTEL_COREVITAL_MAX_INTERVENTIONS"
"""
.. envvar:: OTEL_COREVITAL_MAX_INTERVENTIONS

Largest number of times that policies change how one sequence goes on (default 3); ending it is free.
"""

OTEL_COREVITAL_PROMPT_HASH = "OTEL_COREVITAL_PROMPT_HASH"
"""
.. envvar:: OTEL_COREVITAL_PROMPT_HASH

How the prompt's text is hashed: `sha256` (default), `hmac` (default where there is a key) or `off`.
"""

OTEL_COREVITAL_HASH_KEY = "OTEL_COREVITAL_HASH_KEY"
"""
.. envvar:: OTEL_COREVITAL_HASH_KEY

Secret key of `OTEL_COREVITAL_PROMPT_HASH=hmac`.
"""

OTEL_COREVITAL_FLUSH_ON_SIGTERM = "OTEL_COREVITAL_FLUSH_ON_SIGTERM"
"""
.. envvar:: OTEL_COREVITAL_FLUSH_ON_SIGTERM

A process that does not handle SIGTERM exports what it holds before it dies of the signal: by default under zero-code
start-up and in children of multiprocessing; `true`: in every instrumented process; `false`: in none.
"""

OTEL_COREVITAL_CONSOLE = "OTEL_COREVITAL_CONSOLE"
"""
.. envvar:: OTEL_COREVITAL_CONSOLE

What the exporter `corevital_console` prints of a run: `compact` (default: three lines, and one where it is no
terminal), `panel` (the whole verdict) or `json` (one line for programs).
"""

OTEL_COREVITAL_BANNER = "OTEL_COREVITAL_BANNER"
"""
.. envvar:: OTEL_COREVITAL_BANNER

One line at start-up, on standard error, says that CoreVital is on: `auto` (default: under zero-code start-up, if that
is a terminal), `on` or `off`.
"""

OTEL_COREVITAL_SQLITE_PATH = "OTEL_COREVITAL_SQLITE_PATH"
"""
.. envvar:: OTEL_COREVITAL_SQLITE_PATH

File of the exporter `corevital_sqlite` (default `corevital/corevital.db` in the XDG data folder).
"""

OTEL_COREVITAL_SQLITE_RETENTION_DAYS = "OTEL_COREVITAL_SQLITE_RETENTION_DAYS"
"""
.. envvar:: OTEL_COREVITAL_SQLITE_RETENTION_DAYS

Days for which the exporter `corevital_sqlite` keeps what it stored (default 30); labelled runs stay.
"""

OTEL_COREVITAL_SQLITE_MAX_BYTES = "OTEL_COREVITAL_SQLITE_MAX_BYTES"
"""
.. envvar:: OTEL_COREVITAL_SQLITE_MAX_BYTES

Bytes beyond which the exporter `corevital_sqlite` removes the oldest (default 2 GiB); labelled runs stay.
"""
