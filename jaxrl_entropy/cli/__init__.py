"""Commands of `jaxrl-entropy`, one module each."""
