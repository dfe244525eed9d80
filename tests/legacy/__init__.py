"""Reports of the first CoreVital."""
