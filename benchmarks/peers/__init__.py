"""Other libraries that the benchmarks compare with, where installed."""
