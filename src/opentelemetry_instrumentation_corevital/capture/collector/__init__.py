"""Collects what the hooks of a thread see during one step, and knows what of it is missing and why."""
