"""CoreVital's numbers beside those of lm-polygraph, on the same runs."""
