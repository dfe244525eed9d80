"""Reports of the first CoreVital, schemas 0.3.0 and 0.4.0: read into the store, and written from it."""
