"""Declares once what CoreVital measures and judges; other rooms derive tables, layouts, columns and pages from it.

`signals` has one declaration per signal, `verdicts` one per verdict, `absence` what may be absent and why. Nothing here
imports torch, OpenTelemetry or anything of ours but `_internal`. docs/extending.md says how to add to it.
"""
