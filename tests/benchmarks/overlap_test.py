import pytest

from benchmarks import overlap
from jaxrl_entropy import run_files
from tests import devices


def _run():
  load = overlap.Load(4, lambda number: 2 + number % 2, 0.0, 0.0, steps=4)
  return overlap.run(load, max_staleness=1, partial_tokens=2)


@pytest.mark.slow
def test_the_stand_in_gives_records_of_responses_of_its_lengths():
  for record in devices.run(_run):
    assert record["seconds"] > 0
    assert 2 <= record[run_files.RESPONSE_LENGTH] <= 3
