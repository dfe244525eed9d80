"""A step's signal row: its layout, its way to the host, and which returned sequence it belongs to."""
