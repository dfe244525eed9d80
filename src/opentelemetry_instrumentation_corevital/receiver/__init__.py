"""`corevital collect`: OTLP over HTTP and gRPC into the store. Needs the extra `[collect]`, not torch."""
