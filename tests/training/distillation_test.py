"""On-policy distillation: the divergence, its tokens, and that it trains."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl_entropy import losses, objectives, sharding
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.models.io import export
from jaxrl_entropy.training import loop, packed_batch, state as state_lib
from jaxrl_entropy.training.forward import Forward
from jaxrl_entropy.training.policy import (
  build_policy,
  build_tokenizer,
  load_teacher,
)
from jaxrl_entropy.training.update import make_update
from tests.losses.gradients import KEY, objective, random_batch
from tests.models.io import hf_config_test
from tests.training.runs import load, records

MODEL = preset("tiny", vocab_size=32, num_layers=1)
OTHER = preset("tiny", vocab_size=32, num_layers=2, hidden_size=32)
RESPONSES, LENGTH = 8, 6


def make_rows(mesh):
  rng = np.random.default_rng(0)
  rows = packed_batch.fill_rows(
    [rng.integers(2, 32, 2) for _ in range(RESPONSES)],
    [rng.integers(2, 32, 4) for _ in range(RESPONSES)],
    packed_batch.one_per_row(RESPONSES),
    rows=RESPONSES,
    length=LENGTH,
  )
  zeros = np.zeros((RESPONSES, 4))
  rows = packed_batch.with_signals(
    rows, {"advantages": zeros, "old_logp": zeros}
  )
  return packed_batch.put(rows, 2, mesh)


def logp(params, model, tokens):
  logits = transformer.logits(params, model, tokens)
  return jax.nn.log_softmax(logits[:, :-1])


def test_updates_bring_the_policy_towards_the_teacher():
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  params = transformer.init(MODEL, jax.random.key(0))
  teacher = jax.tree.map(
    lambda x: 2 * x, transformer.init(OTHER, jax.random.key(1))
  )
  optimizer = optax.adam(1e-2)
  state = state_lib.init_state(
    params, optimizer, 0, mesh, roles={"teacher": teacher}
  )
  rows = make_rows(mesh)
  tokens = jnp.asarray(rows.tokens).reshape(RESPONSES, LENGTH)
  own, other = logp(params, MODEL, tokens), logp(teacher, OTHER, tokens)
  mask = np.asarray(rows.mask).reshape(RESPONSES, LENGTH)[:, 1:]
  want = (jnp.exp(own) * (own - other)).sum(-1)[mask].mean()
  update = make_update(
    lambda _: objectives.distillation(),
    optimizer,
    Forward(MODEL, chunk=16, teacher=Forward(OTHER)),
    None,
    num_responses=RESPONSES,
    max_length=4,
  )
  found = []
  for _ in range(8):
    state, metrics = update(state, rows)
    found.append(float(metrics["kl/teacher"].compute()))
  assert found[0] == pytest.approx(float(want), rel=1e-4)
  assert found[-1] < 0.5 * found[0]
  jax.tree.map(np.testing.assert_array_equal, state.roles["teacher"], teacher)


def test_tokens_to_learn_from_are_unsure_or_far_from_the_teacher():
  batch = random_batch(rows=12)
  valid = np.asarray(batch.mask)
  entropy, divergence = (
    np.float64(x)[valid] for x in (batch.entropy, batch.teacher_kl)
  )
  held = np.minimum(
    entropy, np.sort(entropy)[::-1][int(0.02 * (entropy.size - 1))]
  )
  h, d = ((x - x.min()) / np.ptp(x) for x in (held, divergence))
  score = h + d - h * d
  chosen = np.argsort(-score, kind="stable")[: int(0.5 * score.size)]
  loss, metrics = objectives.distillation(0.5)(batch, KEY)
  np.testing.assert_allclose(loss, divergence[chosen].mean(), rtol=1e-5)
  share = len(chosen) / score.size
  np.testing.assert_allclose(metrics["select/share"].compute(), share, 1e-5)


def test_a_loss_restricted_to_no_token_is_zero():
  nothing = losses.top_fraction(losses.entropy_score, 0.0)
  restricted = objective(losses.policy_gradient(), losses.restrict_to(nothing))
  assert restricted(random_batch(), KEY)[0] == 0


@pytest.fixture
def teacher_folder(tmp_path):
  """A folder of weights for the symbols of the tiny config."""
  symbols = build_tokenizer(load("grpo")).vocab_size
  model = dataclasses.replace(OTHER, vocab_size=symbols)
  params = transformer.init(model, jax.random.key(1))
  export.save(
    tmp_path / "teacher", model, jax.tree.map(lambda x: 2 * x, params)
  )
  return tmp_path / "teacher"


def test_a_run_learns_from_a_teacher_on_disk_that_no_checkpoint_holds(
  tmp_path, teacher_folder
):
  def run(name, steps):
    config = load(
      *("distillation", ("sft.steps", "0"), ("steps", str(steps))),
      *(("teacher.weights", str(teacher_folder)), ("eval.every", "0")),
      *(("optimizer.learning_rate", "1e-2"), ("probe.every", "0")),
    )
    assert loop.train(config, tmp_path / name) == 0
    return [x.get("kl/teacher") for x in records(tmp_path / name)]

  whole = run("whole", 6)
  assert np.mean(whole[4:6]) < 0.95 * np.mean(whole[:2])
  assert whole[6] is None  # The last step makes no updates.
  run("cut", 3)
  (saved,) = (tmp_path / "cut" / "checkpoints" / "4").glob("state/_METADATA")
  assert "opt_state" in saved.read_text()
  assert "teacher" not in saved.read_text()
  assert run("cut", 6) == whole


def test_a_teacher_must_be_given_and_share_the_vocabulary(teacher_folder):
  config = load("grpo", ("loss.name", "distillation"))
  policy = build_policy(config)
  with pytest.raises(UserError, match=r"teacher\.weights is empty"):
    load_teacher(config, policy)
  config.teacher.weights = str(teacher_folder)
  assert load_teacher(config, policy).model.num_layers == OTHER.num_layers
  other = dataclasses.replace(
    policy, model=dataclasses.replace(policy.model, tokenizer_size=7)
  )
  with pytest.raises(
    UserError, match=r"a vocabulary of \d+ and the policy one"
  ):
    load_teacher(config, other)


def test_a_teacher_that_cannot_fit_is_refused_before_it_is_read(tmp_path):
  """The folder holds no weights that could be read."""
  source = hf_config_test.PUBLISHED / "Qwen2.5-32B.json"
  (tmp_path / "config.json").write_text(source.read_text())
  config = load("distillation", ("teacher.weights", str(tmp_path)))
  with pytest.raises(
    UserError, match=r"teacher\.weights='.*' has 32\.\d+ bill"
  ):
    loop.train(config, tmp_path / "run")
  assert not (tmp_path / "run").exists()
