"""Receives OTLP over HTTP and gRPC into the store, for `corevital collect`.

Needs the extra `[collect]`, not torch.
"""
