"""Trials of attention with stand-ins for the kernels of other platforms."""

import dataclasses

from flax import struct
import jax
import jax.numpy as jnp
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.ops.attention import dispatch, trials, xla
from jaxrl_entropy.ops.attention.paged import Pages
from jaxrl_entropy.sampling.tuning import Tuning
from jaxrl_entropy.training import kernels
from jaxrl_entropy.training.forward import Forward

MODEL = preset("pico", num_layers=2, sliding_window=5, max_length=64)
MODEL = dataclasses.replace(MODEL, sliding_layers=(True, False))
FORWARD = Forward(MODEL)
MESH = sharding.make_mesh(devices=jax.devices()[:1])


def padding_differs(q, k, v, segments, window, softcap):
  mixed = xla.attend(q, k, v, segments, window, softcap)
  return jnp.where((segments > 0)[..., None, None], mixed, jnp.nan)


def ignores_windows(q, k, v, segments, window, softcap):
  return xla.attend(q, k, v, segments, 0, softcap)


def crashes(*args):
  raise NotImplementedError("no such instruction")


@pytest.mark.parametrize(
  ("kernel", "chosen", "line"),
  [
    (padding_differs, "auto", "splash is used"),
    (ignores_windows, "xla", "splash differs by"),
    (crashes, "xla", "splash failed (NotImplementedError: no such inst"),
  ],
)
def test_attention_is_compared_on_the_runs_own_shapes(
  monkeypatch, capsys, kernel, chosen, line
):
  shapes = []

  def stand_in(q, k, v, segments, window, softcap=0.0):
    shapes.append(q.shape)
    return kernel(q, k, v, segments, window, softcap)

  monkeypatch.setattr(dispatch, "platform_backend", lambda *_: "splash")
  monkeypatch.setattr(dispatch.splash, "attend", stand_in)
  # The kernel always counts as faster.
  order = iter([2.0, 1.0] * 2)
  monkeypatch.setattr(trials, "median_seconds", lambda call: next(order))
  found = kernels.tried_forward(FORWARD, MESH, 2, 16)
  assert found.attention == chosen
  assert set(shapes) == {(2, 16, MODEL.num_heads, MODEL.head_dim)}
  (said,) = capsys.readouterr().out.splitlines()
  assert line in said
  assert "2 rows of 16 tokens" in said


def test_nothing_is_tried_without_a_kernel(capsys):
  assert kernels.tried_forward(FORWARD, MESH, 2, 16) == FORWARD
  assert not kernels.tried_tuning(MODEL, MESH, 4, 32).kernel
  assert not capsys.readouterr().out


@struct.dataclass
class Shifted(Pages):
  """Pages whose queries do not see themselves."""

  def attend(self, q, view, window=0, softcap=0.0):
    view = view.replace(start=view.start - 1)
    return super().attend(q, view, window, softcap)


@pytest.mark.parametrize("window", [0, 5])
def test_decoding_is_compared_on_written_pages(monkeypatch, window):
  monkeypatch.setattr(trials, "median_seconds", lambda call: 1.0)
  functions, args = kernels.decoding_case(
    {"xla": Pages, "same": Pages, "shifted": Shifted},
    *(MODEL, MESH, 3, 20, Tuning(page_size=8, chunk=4), window),
  )
  with jax.set_mesh(MESH):
    tried = trials.run(functions, args)
  assert tried["same"].difference == 0
  assert tried["shifted"].difference > 2 * trials.TOLERANCE
