"""What the page of one run shows, part by part: from a run's shape to what templates and scripts read."""
