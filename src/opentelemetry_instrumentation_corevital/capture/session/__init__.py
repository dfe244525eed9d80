"""Follows one watched call from its arguments to its result and makes the runs of its rows."""
