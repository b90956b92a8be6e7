import jax.numpy as jnp

from jaxrl_entropy.training.profile import Profiler


def traces(folder):
  return list(folder.rglob("*.xplane.pb"))


def run(profiler, steps):
  for step in range(steps):
    profiler.before(step)
    (jnp.ones(8) * step).block_until_ready()
    profiler.after(step)
    yield step


def test_the_steps_that_are_told_are_traced(tmp_path):
  profiler = Profiler(tmp_path, (1, 2))
  written = {step: len(traces(tmp_path)) for step in run(profiler, 4)}
  assert written == {0: 0, 1: 0, 2: 1, 3: 1}
  profiler.close()
  assert len(traces(tmp_path)) == 1


def test_a_run_that_is_stopped_keeps_its_trace(tmp_path):
  profiler = Profiler(tmp_path, (0, 9))
  list(run(profiler, 2))
  profiler.close()
  assert len(traces(tmp_path)) == 1


def test_nothing_is_traced_unless_asked(tmp_path):
  profiler = Profiler(tmp_path, ())
  list(run(profiler, 2))
  profiler.close()
  assert not list(tmp_path.iterdir())
