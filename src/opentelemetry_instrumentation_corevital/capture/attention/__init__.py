"""Computes the last query's attention scores and plans which attentions are reduced together."""
