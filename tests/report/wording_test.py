import pytest

from jaxrl_entropy.report import wording


@pytest.mark.parametrize(
  ("cells", "expected"),
  [
    ([0.05, 0.0606], ["0.0500", "0.0606"]),
    ([0.5, 0.0606, None], ["0.500", "0.061", "–"]),
    ([float("nan"), 2, "x"], ["–", "2", "x"]),
    ([0.00123, 0.0000456], ["0.00123", "0.00005"]),
    ([0.0, 0.0], ["0.000", "0.000"]),
    ([67970.4, 3.0], ["67970", "3"]),
    ([246.25, -1.0], ["246.2", "-1.0"]),
  ],
)
def test_a_column_has_one_number_of_decimals(cells, expected):
  assert wording.column_text(cells) == expected


def test_lists_and_ranges():
  assert wording.listing(["a", "b", "c"]) == "a, b and c"
  assert wording.listing([]) == ""
  assert wording.value_range([0.2, 0.1]) == "0.100 to 0.200"
  assert wording.value_range([0.7, 0.7], ".0%") == "70%"
  assert wording.plural(1, "run") == "1 run"
