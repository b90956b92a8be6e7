from jaxrl_entropy.training import sft
from tests.training.runs import load


def test_the_sft_folder_does_not_depend_on_the_optimiser(tmp_path):
  folders = {
    sft.start_folder(load("grpo", ("optimizer.name", name)), tmp_path)
    for name in ("adamw", "sgd")
  }
  assert len(folders) == 1
