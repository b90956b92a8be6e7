import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.models import lora, transformer
from jaxrl_entropy.models.io import checkpoints
from tests.models import peers

CONFIG, BASE = checkpoints.load(peers.FOLDER / "qwen2_tied")
TOKENS = jnp.asarray(peers.tokens())
logits = jax.jit(transformer.logits, static_argnums=1)


def _adapted(targets=lora.TARGETS):
  return lora.add(BASE, 3, targets, jax.random.key(1))


def test_changes_nothing_at_first():
  adapted = _adapted()
  np.testing.assert_array_equal(
    logits(adapted, CONFIG, TOKENS),
    logits(BASE, CONFIG, TOKENS),
  )


def test_adapters_sit_beside_their_kernels():
  adapted = _adapted(("q_proj", "up_proj"))
  q_proj = adapted["layers"]["attention"]["q_proj"]
  assert q_proj["lora_a"].shape == (3, 24, 3)
  assert q_proj["lora_b"].shape == (3, 3, 24)
  assert "lora_a" not in adapted["layers"]["attention"]["k_proj"]
  other = adapted["layers"]["mlp"]["up_proj"]["lora_a"]
  assert not np.allclose(other, q_proj["lora_a"])


def test_only_adapters_are_trained():
  adapted = _adapted(("v_proj",))
  trained, frozen = lora.split(adapted)
  assert set(trained["layers"]["attention"]["v_proj"]) == {"lora_a", "lora_b"}
  assert len(jax.tree.leaves(trained)) == 2
  assert jax.tree.structure(frozen) == jax.tree.structure(BASE)
  jax.tree.map(
    np.testing.assert_array_equal, lora.join(trained, frozen), adapted
  )


def test_everything_is_trained_without_adapters():
  trained, frozen = lora.split(BASE)
  assert jax.tree.structure(trained) == jax.tree.structure(BASE)
  assert not jax.tree.leaves(frozen)


def test_merged_computes_the_same():
  adapted = _adapted()
  adapted = jax.tree.map(lambda x: x + 0.02, adapted)
  plain = lora.merged(adapted)
  assert jax.tree.structure(plain) == jax.tree.structure(BASE)
  np.testing.assert_allclose(
    logits(plain, CONFIG, TOKENS),
    logits(adapted, CONFIG, TOKENS),
    atol=1e-3,
  )


@pytest.mark.parametrize(
  ("rank", "targets"), [(0, ("q_proj",)), (2, ("q_proj", "embed"))]
)
def test_refuses(rank, targets):
  with pytest.raises(ValueError, match="must be at least 1"):
    lora.add(BASE, rank, targets, jax.random.key(1))


def test_each_expert_has_its_own_adapter():
  config, base = checkpoints.load(peers.FOLDER / "olmoe_plain_weights")
  adapted = lora.add(base, 2, ("up_proj", "down_proj"), jax.random.key(1))
  up_proj = adapted["layers"]["mlp"]["experts"]["up_proj"]
  assert up_proj["lora_a"].shape == (3, 4, 24, 2)
  assert not np.allclose(up_proj["lora_a"][:, 0], up_proj["lora_a"][:, 1])
  adapted = jax.tree.map(lambda x: x + 0.02, adapted)
  np.testing.assert_allclose(
    logits(adapted, config, TOKENS),
    logits(lora.merged(adapted), config, TOKENS),
    atol=2e-4,
  )
