"""Isolation of code that a model wrote."""
