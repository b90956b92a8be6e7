import numpy as np
import pytest

from jaxrl_entropy.sampling.request import Request, Uniform


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("prompt", ()),
    ("n", 0),
    ("max_tokens", 0),
    ("max_tokens", (3, 4)),
    ("temperature", -0.1),
    ("temperature", float("nan")),
    ("temperature", float("inf")),
    ("top_k", -1),
    ("top_k", 2**31),
    ("top_p", 0.0),
    ("top_p", 1.1),
    ("min_p", 2.0),
    ("uniform", Uniform(samples=2)),
    ("uniform", Uniform(samples=1, floor=1.5)),
    ("stop_strings", "ab"),
    ("stop_strings", ("ab", "")),
  ],
)
def test_values_out_of_range_are_named(field, value):
  fields = {"prompt": np.array([1]), "n": 1, field: value}
  with pytest.raises(ValueError, match=rf"Request\.{field}="):
    Request(**fields)


def test_limits_of_each_continuation():
  assert Request((1,), n=3, max_tokens=5).limits == (5, 5, 5)
  assert Request((1,), n=2, max_tokens=(5, 7)).limits == (5, 7)
