"""Arguments out of range are named with their value and the range."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import arguments


@pytest.mark.parametrize(
  ("check", "message"),
  [
    (
      lambda: arguments.within("f", 0, 1, x=1.5),
      r"f: x is 1.5; .* in \[0, 1\]",
    ),
    (lambda: arguments.within("f", 0, x=-1), "f: x is -1; .* at least 0"),
    (lambda: arguments.within("f", 0, x="b"), "f: x is 'b'"),
    (lambda: arguments.within("f", 0, x=True), "f: x is True"),
    (lambda: arguments.within("f", 0, 1, x=float("nan")), "f: x is nan"),
    (lambda: arguments.above("f", 0, x=0), "f: x is 0; .* above 0"),
    (lambda: arguments.above("f", 0, x=np.inf), "f: x is inf"),
    (lambda: arguments.ordered("f", a=2, b=2), "f: a=2 is not below b=2"),
    (lambda: arguments.one_of("f", "ab", x="c"), "f: x is 'c'; use 'a' or 'b'"),
  ],
)
def test_a_mistake_is_named(check, message):
  with pytest.raises(ValueError, match=message):
    check()


def test_what_is_in_range_or_traced_passes():
  arguments.within("f", 0, 1, x=0, y=1.0, z=jnp.float32(7))
  arguments.above("f", 0, x=1e-9, y=jnp.float32(-1))
  arguments.ordered("f", a=1, b=2)
  arguments.ordered("f", a=jnp.float32(2), b=1)
  arguments.one_of("f", (None, 1), x=None)
