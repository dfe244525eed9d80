"""The last query's attention: its scores, and which attentions are reduced together."""
