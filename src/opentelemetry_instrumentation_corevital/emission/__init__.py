"""Turns a judged `Run` into what OpenTelemetry carries: attributes, events, metrics, logs and run data.

Pure where it can be. This room knows nothing of torch.
"""
