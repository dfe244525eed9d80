"""`recording()` records every `generate()` of a program into a store, with one call."""
