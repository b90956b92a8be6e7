from benchmarks import growth
from benchmarks.growth import Size


def test_each_field_is_doubled_alone_beside_the_size_itself():
  sizes = growth.doubled(Size(8, 64), ("rows", "layers"))
  assert list(sizes) == ["8 x 64, 8 layers", "2 x rows", "2 x layers"]
  assert list(sizes.values()) == [
    Size(8, 64),
    Size(16, 64),
    Size(8, 64, layers=16),
  ]
  assert sizes["2 x rows"].work == 2 * Size(8, 64).work


def test_cases_are_compared_with_the_first():
  rates = {"base": lambda: 10.0, "2 x rows": lambda: 9.0}
  (result,) = growth.against_base("tok/s", rates, rounds=2)
  assert (result.case, result.peer, result.ratio) == ("2 x rows", "base", 0.9)
