"""Exact selection of tokens by rank and quota, in parallel."""
