"""Defines each signal as a pure function on tensors; every faster form is tested against it."""
