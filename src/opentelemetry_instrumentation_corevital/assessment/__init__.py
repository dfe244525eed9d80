"""From a `Run` to judgements. Pure functions on NumPy columns; this room knows neither torch nor OpenTelemetry."""
