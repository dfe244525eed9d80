"""The shipped coefficients of the answer risk: fitted and measured."""
