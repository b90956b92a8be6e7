import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.models import router_losses, transformer
from jaxrl_entropy.models.config import preset

CONFIG = preset("tiny-moe", hidden_size=32, num_heads=2, num_kv_heads=1)
PARAMS = transformer.init(CONFIG, jax.random.key(0))
ROWS = jax.random.randint(jax.random.key(1), (3, 2, 10), 1, 4)
TOKENS, POSITIONS = ROWS[0], jnp.broadcast_to(jnp.arange(10), (2, 10))
SEGMENTS = (POSITIONS < 7).astype(jnp.int32)


@pytest.mark.parametrize("remat", ["none", "full"])
def test_hidden_states_are_the_same_and_padding_does_not_count(remat):
  run = jax.jit(
    router_losses.hidden_and_router_losses,
    static_argnums=1,
    static_argnames="remat",
  )
  hidden, balance, z = run(
    PARAMS, CONFIG, TOKENS, POSITIONS, SEGMENTS, remat=remat
  )
  plain = transformer.hidden_states(PARAMS, CONFIG, TOKENS, POSITIONS, SEGMENTS)
  np.testing.assert_allclose(hidden, plain, rtol=1e-5, atol=1e-5)
  assert balance.shape == z.shape == (2, 10)
  padded = TOKENS.at[:, 7:].set(0)
  _, again, _ = run(PARAMS, CONFIG, padded, POSITIONS, SEGMENTS, remat=remat)
  np.testing.assert_allclose(again[:, :7], balance[:, :7], rtol=1e-5)


def test_a_dense_model_has_none():
  dense = preset("pico")
  with pytest.raises(ValueError, match="no experts"):
    router_losses.hidden_and_router_losses(
      {}, dense, TOKENS, POSITIONS, SEGMENTS
    )
