"""Compiles the programs of a run for hardware that is not there."""
