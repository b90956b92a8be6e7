import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import losses
from jaxrl_entropy.losses import aggregates
from tests.losses import batches


def reference(name, loss, mask):
  """Written row by row, from objectives-spec."""
  rows = [loss[i][mask[i]] for i in range(len(mask)) if mask[i].any()]
  return {
    "token_mean": loss[mask].mean(),
    "token_sum": loss[mask].sum(),
    "seq_mean_token_sum": np.mean([row.sum() for row in rows]),
    "seq_mean_token_sum_norm": np.mean([row.sum() for row in rows])
    / batches.LENGTH,
    "seq_mean_token_mean": np.mean([row.mean() for row in rows]),
  }[name]


def ragged():
  batch = batches.make(3)
  mask = batch.mask.copy()
  mask[2] = False
  mask[4, 3:] = False
  return batch.replace(mask=mask)


@pytest.mark.parametrize("name", aggregates.AGGREGATES)
def test_agrees_with_rows_taken_one_by_one(name):
  batch = ragged()
  device = batches.on_device(batch)
  ours = aggregates.AGGREGATES[name]()(device.logp, device)
  theirs = reference(name, batch.logp, batch.mask)
  np.testing.assert_allclose(ours.compute(), theirs, rtol=1e-5)


@pytest.mark.parametrize("name", aggregates.AGGREGATES)
def test_packing_does_not_show(name):
  batch = ragged()
  places = np.random.default_rng(0).permutation(5 * 20)[: batch.mask.size]
  packed = batches.laid_out(batch, 5, 20, places, np.nan)
  aggregate = aggregates.AGGREGATES[name]()
  ours, theirs = (
    aggregate(device.logp, device).compute()
    for device in map(batches.on_device, (packed, batch))
  )
  np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("name", aggregates.AGGREGATES)
def test_padding_gets_no_gradient(name):
  batch = batches.with_padding(ragged(), np.nan)
  aggregate, device = aggregates.AGGREGATES[name](), batches.on_device(batch)
  gradient = np.asarray(
    jax.grad(lambda x: aggregate(x, device).compute())(device.logp)
  )
  assert np.isfinite(gradient).all()
  assert (gradient[~batch.mask] == 0).all()
  assert (gradient[batch.mask] > 0).all()


def test_counts_of_a_larger_whole_make_partial_sums_add_up():
  batch = batches.on_device(batches.make(1))
  top, bottom = (
    batch.replace(mask=batch.mask & (batch.response % 2 == i)) for i in (0, 1)
  )
  for whole, part in (
    (losses.token_mean(), losses.token_mean(float(batch.mask.sum()))),
    (losses.seq_mean_token_mean(), losses.seq_mean_token_mean(8.0)),
    (losses.seq_mean_token_sum(), losses.seq_mean_token_sum("all")),
  ):
    parts = [part(b.logp, b).compute() for b in (top, bottom)]
    total = whole(batch.logp, batch).compute()
    np.testing.assert_allclose(sum(parts), total, rtol=1e-5)


def test_names_are_verls_too_and_unknown_ones_are_refused():
  assert aggregates.aggregate_by("seq-mean-token-mean") is not None
  with pytest.raises(ValueError, match="unknown aggregation 'mean'"):
    aggregates.aggregate_by("mean")
  device = batches.on_device(batches.make())
  with pytest.raises(ValueError, match="'all'"):
    losses.seq_mean_token_sum("every")(jnp.ones((8, 12)), device)
