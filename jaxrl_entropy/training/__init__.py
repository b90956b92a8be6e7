"""Rollouts, updates, checkpoints and the training loop."""
