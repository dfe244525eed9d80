"""Finds out for `corevital doctor` whether a run would be recorded here and arrive."""
