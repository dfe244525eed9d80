"""Answers with known truth: what the probability that an answer is wrong is fitted on."""
