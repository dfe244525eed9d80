"""What `opentelemetry-instrument` asks of an instrumentation: the libraries that it instruments."""

_instruments = ("transformers >= 4.57, < 6",)
_supports_metrics = True
