"""Optional fields of a batch: where they come from, and which a loss reads.

A field that a batch lacks is an `Absent` in the batch that transforms see: a
node of the pytree without leaves, any use of which raises. Which fields a loss
reads is found by evaluating it on shapes, field by field.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import jax
import jax.numpy as jnp

from jaxrl_entropy.types import TokenBatch

# The trainer provides the fields that its objective `needs`.
PROVIDERS = {
  "entropy": "the policy's forward pass",
  "ref_logp": "a reference policy, which the trainer keeps for a `loss` that "
  "reads it and for `reward.kl_coefficient`",
  "sampler_logp": "the sampler, whose log-probs a rollout carries",
  "values": "a critic: set `advantage.name` to 'gae'",
  "old_values": "a critic: set `advantage.name` to 'gae'",
  "returns": "a critic: set `advantage.name` to 'gae'",
  "sum_p2": "the policy's forward pass with `moments=True`",
  "sum_p2_logp": "the policy's forward pass with `moments=True`",
  "nucleus_entropy": "the policy's forward pass with `nucleus` above 0",
  "rank": "the policy's forward pass with `rank=True`",
  "router_balance": "a mixture of experts: its forward pass with `router=True`",
  "router_z": "a mixture of experts: its forward pass with `router=True`",
  "teacher_kl": "a teacher model: set `teacher.weights`",
  "old_entropy": "the pass that scores a rollout before its first update",
  "teacher_logp": "a scoring pass whose prompts hold the solutions",
  "correct": "the verifier, whose verdicts a rollout carries",
  "group": "the rollout, which knows each response's prompt",
  "group_accuracy": "the verifier, whose verdicts a rollout carries",
  "embedding": "the pass that scores a rollout before its first update",
}
INTEGERS = {"group"}


class MissingFieldError(ValueError):
  """A transform reads a field that the batch does not have.

  Attributes:
    field: name of the field.
    owner: name of the part that reads it; "" until the chain adds it.
  """

  def __init__(self, field: str, owner: str = "") -> None:
    reader = f"{owner}()" if owner else "a part of this loss"
    super().__init__(
      f"{reader} reads `{field}`, which this batch does not have; "
      f"it comes from {PROVIDERS[field]}"
    )
    self.field, self.owner = field, owner


class Absent:
  """Stands in a batch for a field that it does not have; any use raises."""

  def __init__(self, field: str) -> None:
    self._field = field

  def _raise(self, *args: Any, **kwargs: Any) -> NoReturn:
    del args, kwargs
    raise MissingFieldError(self._field)

  def __getattr__(self, name: str) -> NoReturn:
    if name.startswith("_"):
      raise AttributeError(name)
    self._raise()

  __jax_array__ = __array__ = __bool__ = __len__ = __iter__ = _raise
  __getitem__ = __neg__ = __abs__ = __invert__ = __pow__ = __rpow__ = _raise
  __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _raise
  __truediv__ = __rtruediv__ = __floordiv__ = __mod__ = _raise
  __lt__ = __le__ = __gt__ = __ge__ = __and__ = __rand__ = _raise
  __or__ = __ror__ = _raise


jax.tree_util.register_pytree_node(
  Absent,
  lambda absent: ((), absent._field),
  lambda field, _: Absent(field),
)


def mark_absent(batch: TokenBatch) -> TokenBatch:
  """Returns the batch with an `Absent` for each optional field that is None."""
  missing = [name for name in PROVIDERS if getattr(batch, name) is None]
  return batch.replace(**{name: Absent(name) for name in missing})


def fields_read(
  function: Callable[[TokenBatch, Any], Any],
) -> frozenset[str]:
  """Returns the optional fields that a function of (batch, key) reads."""
  read: set[str] = set()
  key = jax.eval_shape(lambda: jax.random.key(0))
  while True:
    try:
      jax.eval_shape(function, _shapes(read), key)
    except MissingFieldError as missing:
      read.add(missing.field)
    else:
      return frozenset(read)


def _shapes(optional: set[str]) -> TokenBatch:
  """The shapes of a small batch with these optional fields."""
  grid: Any = jax.ShapeDtypeStruct((2, 4), jnp.float32)
  numbers: Any = jax.ShapeDtypeStruct((2, 4), jnp.int32)
  mask: Any = jax.ShapeDtypeStruct((2, 4), jnp.bool_)
  return TokenBatch(
    logp=grid,
    old_logp=grid,
    advantages=grid,
    mask=mask,
    response=numbers,
    position=numbers,
    num_responses=2,
    max_length=4,
    **{name: numbers if name in INTEGERS else grid for name in optional},
  )
