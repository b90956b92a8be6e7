"""What the benchmarks compare with, where it is installed."""
