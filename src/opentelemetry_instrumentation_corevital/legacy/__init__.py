"""Reads reports of the first CoreVital, schemas 0.3.0 and 0.4.0, into the store, and writes them from it."""
