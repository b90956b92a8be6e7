"""One optimizer update: forward, objective, backward over micro-batches.

The objective is never differentiated through the model. It is evaluated once,
on the [B, T] statistics of the whole mini-batch, and hands back a cotangent for
each of them; the model's vector-Jacobian product turns those into gradients,
micro-batch by micro-batch. Every mean, quota and draw of any transform is thus
that of the whole mini-batch on the whole mesh, whatever the layout.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
import optax

from jaxrl_entropy import run_files
from jaxrl_entropy.models import lora, transformer
from jaxrl_entropy.training.forward import ForwardPass, forward_slices
from jaxrl_entropy.training.lookahead import Lookahead
from jaxrl_entropy.training.packed_batch import Rows
from jaxrl_entropy.training.state import TEACHER, TrainState, use_key
from jaxrl_entropy.types import Mean, Metrics, Params, TokenBatch

Objective = Callable[[TokenBatch, Any], tuple[Float[Array, ""], Metrics]]


def flatten_rows(x: Array) -> Array:
  """Reshapes [M, R, ...] to [R * M, ...]; rows stay on their devices.

  Args:
    x: M micro-batches of R rows, split over devices by R.
  """
  return jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:])


def objective_batch(rows: Rows, stats: Any, **capacity: int) -> TokenBatch:
  """Returns the batch that the objective sees of `rows`.

  Args:
    rows: one mini-batch, [M, R, L].
    stats: the forward pass's result, arrays [M, R, L] named as the batch's
      fields.
    **capacity: `num_responses` and `max_length`, static.

  Returns:
    A batch of arrays [R * M, L].
  """
  embedding: Any = None if rows.embedding is None else rows.embedding[0]
  rows = rows.replace(embedding=None)
  rows, stats = jax.tree.map(flatten_rows, (rows, stats))
  fields: dict[str, Any] = rows.signals | vars(stats) | capacity
  if "group" in fields:
    fields["group"] = fields["group"].astype(jnp.int32)
  return TokenBatch(
    mask=rows.mask,
    response=rows.response,
    position=rows.index,
    embedding=embedding,
    **fields,
  )


def loss_and_gradient(
  params: Params,
  rows: Rows,
  objective: Objective,
  key: Key[Array, ""],
  forward: ForwardPass,
  *,
  statistics: str = "minibatch",
  **capacity: int,
) -> tuple[Float[Array, ""], Metrics, Params]:
  """Returns the objective's value, its metrics and its parameters' gradient.

  Args:
    params: the model's.
    rows: one mini-batch, [M, R, L].
    objective: (TokenBatch, key) -> (loss, metrics).
    key: randomness of this update's objective.
    forward: the model's forward pass.
    statistics: "minibatch": the objective sees the whole mini-batch;
      "microbatch": it sees each micro-batch alone and the losses are averaged,
      as in code bases that accumulate gradients (the result then depends on
      the layout).
    **capacity: `num_responses` and `max_length` of the TokenBatch.

  Returns:
    Scalar loss, metrics and a gradient tree like `params`.
  """
  count = rows.tokens.shape[0]

  def evaluate(stats: Any, rows: Rows) -> tuple[Float[Array, ""], Metrics]:
    return objective(objective_batch(rows, stats, **capacity), key)

  pull = jax.value_and_grad(evaluate, has_aux=True)
  if count == 1:
    only = jax.tree.map(lambda x: x[0], rows)
    stats, backward = jax.vjp(lambda p: forward(p, only), params)
    stats = jax.tree.map(lambda x: x[None], stats)
    (loss, metrics), cotangents = pull(stats, rows)
    (gradient,) = backward(jax.tree.map(lambda x: x[0], cotangents))
    return loss, metrics, gradient

  # The head's gradient is summed over devices once, after all micro-batches.
  params, collect = jax.vjp(transformer.copy_head, params)
  stats = _known(forward, params, rows)
  if stats is None:
    stats = forward_slices(forward, params, rows)
  if statistics == "minibatch":
    (loss, metrics), cotangents = pull(stats, rows)
  else:
    (loss, metrics), cotangents = _per_slice(pull, stats, rows)

  def add_gradient(total: Params, slice_: Rows, cotangent: Any) -> Params:
    _, backward = jax.vjp(lambda p: forward(p, slice_), params)
    (gradient,) = backward(cotangent)
    return jax.tree.map(jnp.add, total, gradient)

  def accumulate(total: Params, inputs: tuple[Rows, Any]) -> Any:
    used = inputs[0].mask.any()
    total = jax.lax.cond(used, add_gradient, _first, total, *inputs)
    return total, None

  zeros = jax.tree.map(jnp.zeros_like, params)
  total, _ = jax.lax.scan(accumulate, zeros, (rows, cotangents))
  (gradient,) = collect(total)
  return loss, metrics, gradient


def _known(forward: ForwardPass, params: Params, rows: Rows) -> Any:
  """Returns the forward pass's results if the rows have all of them."""
  first = jax.tree.map(lambda x: x[0], rows)
  stats = jax.eval_shape(forward, params, first)
  names = [name for name, value in vars(stats).items() if value is not None]
  if not rows.signals.keys() >= set(names):
    return None
  return dataclasses.replace(stats, **{n: rows.signals[n] for n in names})


def _first(value: Any, *others: Any) -> Any:
  del others
  return value


def _per_slice(pull: Callable, stats: Any, rows: Rows) -> Any:
  """Applies `pull` to each micro-batch alone: mean loss, summed metrics.

  Micro-batches without tokens do not count.
  """
  used = jnp.maximum(rows.mask.any((1, 2)).sum().astype(jnp.float32), 1.0)

  def one(inputs: tuple[Any, Rows]) -> Any:
    return pull(*jax.tree.map(lambda x: x[None], inputs))

  (losses, metrics), cotangents = jax.lax.map(one, (stats, rows))
  metrics = jax.tree.map(lambda x: x.sum(0), metrics)
  cotangents = jax.tree.map(lambda x: x[:, 0] / used, cotangents)
  return (losses.sum() / used, metrics), cotangents


def apply_gradient(
  state: TrainState,
  loss: Float[Array, ""],
  gradient: Params,
  optimizer: optax.GradientTransformation,
) -> tuple[TrainState, Metrics]:
  """Applies one optimizer step, or none where a value is not finite.

  A skipped update is counted in `state.skipped`, which returns to 0 at the next
  good one. The gradient is that of the trained part of the parameters, see
  `models.lora.split`.

  Args:
    state: before the step.
    loss: of the mini-batch; only whether it is finite counts.
    gradient: a tree like the trained part.
    optimizer: turns it into an update.

  Returns:
    The next state, and the gradient's norm and whether the update was skipped.
  """
  trained, frozen = lora.split(state.params)
  norm = optax.tree.norm(gradient)
  # Optimizers mix their integer counters with floats.
  with jax.numpy_dtype_promotion("standard"):
    updates, opt_state = optimizer.update(gradient, state.opt_state, trained)
  params = lora.join(optax.apply_updates(trained, updates), frozen)
  size = optax.tree.norm(updates)
  finite = jnp.isfinite(loss) & jnp.isfinite(norm) & jnp.isfinite(size)

  def keep_finite(new: Any, old: Any) -> Any:
    return jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)

  metrics = {
    run_files.GRADIENT_NORM: Mean(
      jnp.where(finite, norm, 0.0), finite.astype(jnp.float32)
    ),
    run_files.SKIPPED_UPDATES: Mean(
      1.0 - finite.astype(jnp.float32), jnp.float32(1)
    ),
  }
  return state.replace(
    params=keep_finite(params, state.params),
    opt_state=keep_finite(opt_state, state.opt_state),
    update=state.update + 1,
    skipped=jnp.where(finite, 0, state.skipped + 1),
  ), metrics


def make_update(
  make_objective: Callable[[TrainState], Objective],
  optimizer: optax.GradientTransformation,
  forward: ForwardPass,
  shardings: Any,
  *,
  statistics: str = "minibatch",
  lookahead: Lookahead | None = None,
  **capacity: int,
) -> Callable[[TrainState, Rows], tuple[TrainState, Metrics]]:
  """Returns the jitted (state, rows) -> (state, metrics); it donates the state.

  Args:
    make_objective: builds the objective inside the step, so that coefficients
      may be traced functions of the state.
    optimizer: gradient transformation of the model.
    forward: the model's forward pass; where the state has the role `teacher`,
      it is called with that model's parameters as `teacher`.
    shardings: tree of shardings of the state, kept over the update.
    statistics: see `loss_and_gradient`.
    lookahead: makes three optimizer steps of an update; None: one.
    **capacity: `num_responses` and `max_length` of a mini-batch.
  """

  def step(state: TrainState, rows: Rows) -> tuple[TrainState, Params, Metrics]:
    trained, frozen = lora.split(state.params)
    run: Callable[..., Any] = forward
    if TEACHER in state.roles:
      run = functools.partial(run, teacher=state.roles[TEACHER])
    loss, metrics, gradient = loss_and_gradient(
      trained,
      rows,
      make_objective(state),
      use_key(state.key, "objective", state.update),
      lambda trained, rows: run(lora.join(trained, frozen), rows),
      statistics=statistics,
      **capacity,
    )
    state, health = apply_gradient(state, loss, gradient, optimizer)
    metrics |= health | {"loss": Mean(loss, jnp.float32(1))}
    return state, gradient, metrics

  def update(state: TrainState, rows: Rows) -> tuple[TrainState, Metrics]:
    if lookahead is not None:
      return lookahead.run(state, lambda state: step(state, rows))
    state, _, metrics = step(state, rows)
    return state, metrics

  return jax.jit(update, donate_argnums=0, out_shardings=(shardings, None))
