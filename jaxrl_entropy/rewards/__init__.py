"""Verifiers, reward shaping and the sandbox; loads no JAX."""
