"""Lays out a step's signal row, brings it to the host, and knows which returned sequence it belongs to."""
