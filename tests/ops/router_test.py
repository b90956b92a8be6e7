import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy.ops import router


def _scores(tokens=200, experts=4, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(tokens, experts)).astype(np.float32)


def test_balance_is_one_for_an_even_load_and_experts_for_one_expert():
  even = np.tile(np.eye(4, dtype=np.float32) * 50, (5, 1))
  counted = np.ones(20, bool)
  loss = router.balance_loss(even, counted, 1)
  np.testing.assert_allclose(loss.mean(), 1.0, rtol=1e-5)
  single = np.zeros((20, 4), np.float32)
  single[:, 2] = 50
  loss = router.balance_loss(single, counted, 1)
  np.testing.assert_allclose(loss, 4.0, rtol=1e-5)


def test_balance_by_its_definition():
  scores, counted = _scores(), np.arange(200) < 150
  p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
  chosen = np.argsort(-scores, -1)[:150, :2]
  load = np.bincount(chosen.ravel(), minlength=4) / 300
  loss = router.balance_loss(scores, counted, 2)
  np.testing.assert_allclose(loss, 4 * (p * load).sum(-1), rtol=1e-5)


def test_its_gradient_evens_the_load():
  scores = _scores() + np.array([2.0, 0, 0, -1], np.float32)

  def total(scores):
    return router.balance_loss(scores, jnp.ones(200, bool), 1).mean()

  before = total(scores)
  for _ in range(50):
    scores = scores - 100 * jax.grad(total)(scores)
  assert total(scores) < before - 0.2
  load = np.bincount(np.argmax(scores, -1), minlength=4) / 200
  assert load.max() < 0.5


def test_z_loss_by_its_definition():
  scores = _scores()
  want = np.log(np.exp(scores).sum(-1)) ** 2
  np.testing.assert_allclose(router.z_loss(scores), want, rtol=1e-5)
