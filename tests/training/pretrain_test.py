from jaxrl_entropy.training import pretrain
from tests.training.runs import load


def test_the_warm_start_does_not_depend_on_the_optimiser(tmp_path):
  folders = {
    pretrain.start_folder(load("grpo", ("optimizer.name", name)), tmp_path)
    for name in ("adamw", "sgd")
  }
  assert len(folders) == 1
