"""Tasks: sources of training and test problems."""
