import json
import shutil

import jax
import numpy as np
import pytest

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.cli import main
from jaxrl_entropy.models.io import checkpoints
from tests.models import peers

SOURCE = peers.FOLDER / "llama_yarn_magnitudes"


def test_a_folder_is_written_in_another_type_and_size(tmp_path):
  target = tmp_path / "out"
  status = main.main(
    ["convert", f"--source={SOURCE}", f"--target={target}", "--shard-gb=2e-5"]
  )
  assert status == 0
  assert len(list(target.glob("*.safetensors"))) > 2
  jax.tree.map(
    np.testing.assert_array_equal,
    checkpoints.load(target)[1],
    checkpoints.load(SOURCE)[1],
  )
  assert json.loads((target / "config.json").read_text())["bos_token_id"] == 1


def test_a_folder_with_weights_is_left_as_it_is(tmp_path, capsys):
  source, target = tmp_path / "source", tmp_path / "target"
  shutil.copytree(SOURCE, source)
  shutil.copytree(SOURCE, target)
  (source / "tokenizer.json").write_text("theirs")
  (target / "tokenizer.json").write_text("mine")
  assert main.main(["convert", f"--source={source}", f"--target={target}"]) == 2
  assert "already holds weights" in capsys.readouterr().err
  assert (target / "tokenizer.json").read_text() == "mine"


@pytest.mark.parametrize(
  ("source", "complaint"),
  [("nowhere", "no such file or folder"), (".", "config.json")],
)
def test_complains_in_one_line(tmp_path, capsys, source, complaint):
  flags = [f"--source={tmp_path / source}", f"--target={tmp_path / 'out'}"]
  assert main.main(["convert", *flags]) == 2
  error = capsys.readouterr().err
  assert complaint in error
  assert error.count("\n") == 1


def test_a_run_is_no_source(tmp_path, capsys):
  config_lib.save(config_lib.get_config(), tmp_path / "run")
  flags = [f"--source={tmp_path / 'run'}", f"--target={tmp_path / 'out'}"]
  assert main.main(["convert", *flags]) == 2
  assert f"give --workdir={tmp_path / 'run'} instead" in capsys.readouterr().err
