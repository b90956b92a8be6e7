"""Through the model, in any layout: the same tokens picked, the same update.

Micro-batches, packing, the order of rows, padding and the mesh say where a
token is computed. They round its log-prob differently, in the last bits, and
change nothing else.
"""

from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

from hypothesis import assume, given, settings, strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl_entropy import losses, sharding
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.training import packed_batch
from jaxrl_entropy.training.forward import Forward
from jaxrl_entropy.training.layout import score_of
from jaxrl_entropy.training.packed_batch import Rows
from jaxrl_entropy.training.update import loss_and_gradient
from jaxrl_entropy.types import Mean
from tests import devices

MODEL = preset("nano", vocab_size=32, num_layers=1)
FORWARD = Forward(MODEL, temperature=0.8, chunk=32)
EMBED = score_of(dataclasses.replace(FORWARD, embedded=16))
RESPONSES, PROMPT, RESPONSE = 16, 3, 8
LOW, HIGH = 0.02, 2.0
# How far rounding may move a score: tokens so near to a cut prove nothing.
TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True)
class Layout:
  """Where the sequences go: into slots of `rows`, and those onto a mesh.

  Attributes:
    micro: number of micro-batches.
    mesh: sizes of data, fsdp and tensor.
    rows: rows of the mini-batch.
    slots: places for a sequence in each row, with a token of padding between.
  """

  micro: int = 1
  mesh: tuple[int, int, int] = (1, 1, 1)
  rows: int = RESPONSES
  slots: int = 1

  @property
  def placement(self) -> list[tuple[int, int]]:
    width = PROMPT + RESPONSE + 1
    return [(row, width * i) for row in range(self.rows) for i in self.places]

  @property
  def places(self) -> range:
    return range(self.slots)


PACKED = {"rows": 8, "slots": 2}
PADDED = {"rows": 32}
REFERENCE = Layout()
# Each is a program to compile: every number of micro-batches and of devices,
# packing and padding, but not all of their combinations.
LAYOUTS = (
  Layout(),
  Layout(2, **PADDED),
  Layout(4, **PACKED),
  Layout(8),
  Layout(2, (2, 1, 1)),
  Layout(4, (1, 2, 2)),
  Layout(2, (2, 2, 2), **PACKED),
)
# Those whose embeddings of responses are compared: an axis of each kind.
EMBEDDED = (REFERENCE, Layout(2, (2, 2, 2), **PACKED))
SCORE = losses.covariance_score()


def revealed(selector: losses.Selector) -> losses.Selector:
  """`selector`, whose metrics tell every token's score and whether it chose.

  As tables by (response, position), which no layout changes.
  """

  def select(loss, batch, key):
    picked = selector(loss, batch, key)
    row = jnp.where(batch.mask, batch.response, RESPONSES)

    def table(x, missing):
      blank = jnp.full((RESPONSES, RESPONSE), missing)
      return Mean(blank.at[row, batch.position].set(x, mode="drop"), 1.0)

    found = {
      "chosen": table(picked.chosen, False),
      "scores": table(SCORE(batch), jnp.nan),
    }
    return losses.Selection(picked.chosen, found)

  return select


METHODS = {
  "clip_cov": losses.objective(
    losses.ppo_clip(1.0, 1.0),
    losses.masked(
      losses.set_to_zero(), revealed(losses.random_covariance(0.1, LOW, HIGH))
    ),
    aggregate=losses.token_mean(),
  ),
  "kl_cov": losses.objective(
    losses.policy_gradient(),
    losses.masked(losses.add_kl(1.0), revealed(losses.top_covariance(0.1))),
    aggregate=losses.token_mean(),
  ),
}


def cut_distance(method: str, chosen: np.ndarray, scores: np.ndarray) -> float:
  """Distance of the nearest score to where the rule draws its line."""
  valid = np.isfinite(scores)
  if method == "kl_cov":
    others = scores[valid & ~chosen]
    return float(scores[chosen].min() - others.max())
  bounds = np.array([LOW, HIGH])
  return float(np.abs(scores[valid][:, None] - bounds).min())


@functools.cache
def params() -> Any:
  tree = transformer.init(MODEL, jax.random.key(0))
  # Away from initialization, where all distributions are nearly uniform.
  return jax.tree.map(lambda x: x * jnp.float32(1.5), tree)


def make_rows(seed: int, layout: Layout, slots: Sequence[int]) -> Rows:
  """Ragged responses of a seed, each in the slot given for it."""
  rng = np.random.default_rng(seed)
  lengths = rng.integers(1, [PROMPT + 1, RESPONSE + 1], (RESPONSES, 2))
  prompts, responses = (
    [rng.integers(2, 32, n) for n in lengths[:, i]] for i in range(2)
  )
  rows = packed_batch.fill_rows(
    prompts,
    responses,
    [layout.placement[slot] for slot in slots],
    rows=layout.rows,
    length=layout.slots * (PROMPT + RESPONSE + 1),
  )
  shape = (RESPONSES, RESPONSE)
  signals = {
    "advantages": np.repeat(rng.normal(size=(RESPONSES, 1)), RESPONSE, 1),
    "old_logp": rng.normal(size=shape) * 0.1 - 3.4,
  }
  return packed_batch.with_signals(rows, signals)


@jax.jit
def compute(params, rows, share):
  """Loss, metrics and gradient of Clip-Cov, or of KL-Cov at a share of 0.

  The model is compiled once for both.
  """

  def objective(batch, key):
    (one, picked), (other, ranked) = (
      method(batch, key) for method in METHODS.values()
    )
    metrics = {"clip_cov": picked, "kl_cov": ranked}
    return share * one + (1.0 - share) * other, metrics

  return loss_and_gradient(
    params,
    rows,
    objective,
    jax.random.key(1),
    FORWARD,
    num_responses=RESPONSES,
    max_length=RESPONSE,
  )


@functools.cache
def placed(mesh: jax.sharding.Mesh) -> Any:
  return jax.device_put(params(), sharding.param_shardings(params(), mesh))


def laid_out(seed: int, layout: Layout, slots: Sequence[int]) -> Any:
  """The mesh of a layout, and the rows of a seed on it."""
  count = int(np.prod(layout.mesh))
  mesh = sharding.make_mesh(*layout.mesh, devices=jax.devices()[:count])
  return mesh, packed_batch.put(
    make_rows(seed, layout, slots), layout.micro, mesh
  )


def outcome(seed: int, layout: Layout, slots: Sequence[int]) -> Any:
  mesh, rows = laid_out(seed, layout, slots)
  with jax.set_mesh(mesh):
    results = [compute(placed(mesh), rows, x) for x in (1.0, 0.0)]
  return jax.device_get(dict(zip(METHODS, results, strict=True)))


@functools.lru_cache
def expected(seed: int) -> Any:
  return outcome(seed, REFERENCE, range(RESPONSES))


def assert_same(method: str, result: Any, reference: Any) -> None:
  loss, metrics, gradient = result
  loss0, metrics0, gradient0 = reference
  chosen = metrics0[method]["select/chosen"].total
  scores = metrics0[method]["select/scores"].total
  assume(cut_distance(method, chosen, scores) > TOLERANCE)
  assert chosen.any()
  np.testing.assert_array_equal(metrics[method]["select/chosen"].total, chosen)
  np.testing.assert_allclose(loss, loss0, rtol=1e-5, atol=1e-6)
  norm = optax.tree.norm(gradient0)
  np.testing.assert_allclose(optax.tree.norm(gradient), norm, rtol=1e-5)
  gap = optax.tree.norm(jax.tree.map(np.subtract, gradient, gradient0))
  assert gap < 1e-5 * norm


def embedding(layout: Layout) -> np.ndarray:
  order = np.random.default_rng(0).permutation(len(layout.placement))
  mesh, rows = laid_out(0, layout, order[:RESPONSES].tolist())
  with jax.set_mesh(mesh):
    return np.asarray(EMBED(placed(mesh), rows).embedding)


def examine(layouts: Sequence[Layout]) -> tuple[list[str], list[np.ndarray]]:
  """What is wrong with each layout; "" where nothing is. And embeddings."""
  return [fault(layout) for layout in layouts], list(map(embedding, EMBEDDED))


def fault(layout: Layout) -> str:
  capacity = len(layout.placement)

  @settings(max_examples=4, deadline=None, database=None, derandomize=True)
  @given(seed=st.integers(0, 2**31 - 1), order=st.permutations(range(capacity)))
  def check(seed, order):
    result = outcome(seed, layout, order[:RESPONSES])
    for method, reference in expected(seed).items():
      assert_same(method, result[method], reference)

  try:
    check()
  except AssertionError as error:
    return str(error) or "a method picked no token"
  return ""


@pytest.fixture(scope="module")
def examined() -> Any:
  return devices.run(examine, LAYOUTS, timeout=600)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_layout_does_not_show(layout, examined):
  fault = examined[0][LAYOUTS.index(layout)]
  assert not fault, fault


def test_layout_does_not_show_in_embeddings(examined):
  plain, spread = examined[1]
  assert np.abs(plain).max(1).min() > 0.1
  np.testing.assert_allclose(spread, plain, atol=1e-5)
