"""Figures of long rows are compared with proportional growth."""

from benchmarks import lengths


def test_twice_the_tokens_are_expected_to_take_twice_as_much():
  figures = {4096: {"s": 5.0}, 1024: {"s": 1.0}}
  long, short = lengths.against_shortest("on CPU", figures)
  assert (long.case, long.metric) == ("on CPU, rows of 4,096", "s")
  assert (long.ours, long.peer_value, long.ratio) == (5, 4, 0.8)
  assert short.ratio == 1
