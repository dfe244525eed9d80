"""Measures how well scores tell wrong answers from right ones, and how true probabilities are."""
