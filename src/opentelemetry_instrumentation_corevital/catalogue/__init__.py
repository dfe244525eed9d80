"""What CoreVital measures, declared once: the other rooms derive their tables, layouts, lists and pages from it.

`signals` has one declaration per signal, `absence` what may be absent and why. Nothing here imports anything of ours,
torch or OpenTelemetry. docs/extending.md says how to add to it.
"""
