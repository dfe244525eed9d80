"""Whether a run would be recorded here and arrive: what `corevital doctor` finds out."""
