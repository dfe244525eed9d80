"""What makes a measurement worthless."""


class BenchmarkError(Exception):
    """The figures would be worthless; the message says why."""
