"""Array maths without a model: log-probs, KL, selection, attention."""
