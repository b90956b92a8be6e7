"""Configurations of runs; each one's docstring is the command for it."""
