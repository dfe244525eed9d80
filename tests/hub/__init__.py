"""Models of the hub, for who has access: `pytest -m hub`."""
