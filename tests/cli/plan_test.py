"""`jaxrl-entropy plan`, with the compiler for TPUs where it is installed."""

import json
import re
import subprocess
import sys

import pytest

from jaxrl_entropy.cli import main
from jaxrl_entropy.planning import compiling
from jaxrl_entropy.planning.compiling import Task
from tests.devices import ROOT
from tests.models.io.hf_config_test import PUBLISHED

SEVEN = "configs/qwen2_5_7b_kl_cov.py"
needs_compiler = pytest.mark.skipif(
  not compiling.has_compiler(), reason="needs libtpu (pip install libtpu)"
)


@pytest.fixture(autouse=True)
def _in_the_projects_folder(monkeypatch):
  monkeypatch.chdir(ROOT)


def _plan(capfd, *flags):
  status = main.main(["plan", "--json", *flags])
  return status, json.loads(capfd.readouterr().out)


def test_sizes_are_exact_without_a_compiler(capfd, monkeypatch):
  monkeypatch.setattr(compiling, "has_compiler", lambda: False)
  status, plan = _plan(capfd, f"--config={SEVEN}", "--topology=v5e-16")
  assert status == 3
  assert plan["verdict"] is None
  programs = plan["programs"]
  # Qwen2.5-7B has 7,615,616,512 parameters; float32 on 16 devices, but for
  # the norms and biases, which are not split over all of them.
  roles = programs["train"]["roles"]
  assert roles["parameters"] == pytest.approx(7615616512 * 4 / 16, rel=2e-3)
  assert roles["optimizer moments"] == pytest.approx(
    2 * roles["parameters"], rel=1e-6
  )
  assert programs["train"]["inside"] == {"gradients": roles["parameters"]}
  # 28 layers of 4 heads of 128 keys and values in bfloat16 are 57,344 bytes.
  cache = programs["decode"]["roles"]["KV cache"]
  assert cache == pytest.approx(57344 * 128 * 10240 / 16, rel=1e-3)
  # 6 FLOPs a parameter and token, more for recomputation and attention.
  per_token = programs["train"]["flops"] * 16 / programs["train"]["tokens"]
  assert 6 < per_token / 7.1e9 < 16


def test_the_model_of_a_folder_is_planned(capfd, tmp_path):
  keys = dict(vocab_size=64, hidden_size=16, intermediate_size=32)
  keys |= dict(num_hidden_layers=1, num_attention_heads=2)
  published = json.loads((PUBLISHED / "Qwen2.5-7B.json").read_text())
  small = published | keys | dict(num_key_value_heads=1)
  (tmp_path / "config.json").write_text(json.dumps(small))
  flags = (f"--config={SEVEN}", "--topology=v5e-16", "--estimate")
  weights = f"--config.model.weights={tmp_path}"
  status, plan = _plan(capfd, *flags, weights)
  assert (status, plan["model"]) == (0, str(tmp_path))
  assert plan["memory"]["parameters and moments"] < 2**20


def test_the_preset_stands_for_weights_that_are_not_here(capfd):
  flags = (f"--config={SEVEN}", "--topology=v5e-16", "--estimate")
  _, plan = _plan(capfd, *flags, "--config.model.weights=lab/other")
  assert plan["model"].startswith("qwen2.5-7b, the model.preset: lab/other is")


def test_adapters_alone_have_moments():
  settings = (("model.lora_rank", "8"), ("model.prefix_length", "16"))
  task = Task(SEVEN, settings, "v5e-16", "train", compiles=False)
  roles = compiling.compile_apart(task, 120).roles
  # Of rank 8 on queries and outputs (3584, 3584), keys and values (3584, 512),
  # and the prefix; every device has all of them.
  adapters = 28 * 8 * (2 * (3584 + 3584) + 2 * (3584 + 512)) + 16 * 3584
  assert roles["optimizer moments"] == pytest.approx(8 * adapters, rel=1e-6)


def test_a_teacher_is_counted_by_its_own_size(tmp_path):
  (tmp_path / "config.json").write_text(
    (PUBLISHED / "Qwen2.5-32B.json").read_text()
  )
  task = Task(
    "configs/qwen2_5_7b_grpo.py",
    (
      ("recipe", "distillation"),
      ("rollout.group_filter", "mixed"),
      ("teacher.weights", str(tmp_path)),
    ),
    "v5e-16",
    "train",
    compiles=False,
  )
  roles = compiling.compile_apart(task, 120).roles
  assert roles["teacher"] == pytest.approx(32763876352 * 4 / 16, rel=2e-3)
  assert roles["parameters"] == pytest.approx(7615616512 * 4 / 16, rel=2e-3)


def test_a_mesh_that_does_not_cover_the_slice_is_refused(capsys):
  status = main.main(["plan", f"--config={SEVEN}", "--topology=v5e-64"])
  assert status == 2
  assert "does not cover 64 devices" in capsys.readouterr().err


def test_an_estimate_needs_no_compiler_and_is_quick(capfd, monkeypatch):
  monkeypatch.setattr(compiling, "compile_apart", None)
  flags = (f"--config={SEVEN}", "--topology=v5e-16", "--estimate")
  status, short = _plan(capfd, *flags, "--response-tokens=1000")
  _, long = _plan(capfd, *flags, "--response-tokens=8000")
  assert status == 0
  for form in ("least", "expected", "split"):
    assert 0 < short[form]["seconds"] < long[form]["seconds"]


def test_two_meshes_are_estimated_and_not_compiled(capfd, monkeypatch):
  monkeypatch.setattr(compiling, "compile_apart", None)
  split = ("rollout.devices=8", "mesh.fsdp=2", "rollout.max_staleness=1")
  flags = [f"--config={SEVEN}", "--topology=v5e-16"]
  flags += [f"--config.{field}" for field in split]
  assert main.main(["plan", *flags]) == 2
  error = capfd.readouterr().err.splitlines()[-1]
  assert "no program is compiled for a part of v5e-16: add --estimate" in error
  status, plan = _plan(capfd, *flags, "--estimate")
  assert status == 0
  assert plan["samplers"]["data"] == 8
  # A whole copy and a cache of float32 state: more than a device has.
  assert plan["peaks"]["evaluation"] > plan["hbm"]


def test_a_slow_compilation_is_ended():
  result = compiling.compile_apart(Task(SEVEN, (), "v5e-16", "train"), 0.5)
  assert result.status == "time limit"


def test_a_failed_child_says_why():
  wrong = (("loss.name", "nothing"),)
  task = Task(SEVEN, wrong, "v5e-16", "train", compiles=False)
  result = compiling.compile_apart(task, 120)
  assert result.status == "failed"
  assert "nothing" in result.message


@needs_compiler
def test_a_small_model_fits_everywhere(capfd):
  status, plan = _plan(
    capfd,
    *("--config=configs/quickstart.py:kl_cov", "--topology=v5e-4"),
    "--low-effort",
  )
  assert status == 0
  assert plan["verdict"] == "FITS"
  for program in plan["programs"].values():
    assert 0 < program["needed"] < 2**30
  # Selection sorts nothing: no gather of one value a token.
  assert not [
    w for w in plan["programs"]["train"]["warnings"] if "one value a" in w
  ]


@needs_compiler
def test_seven_billion_parameters_train_on_a_small_slice():
  task = Task(SEVEN, (), "v5e-16", "train", low_effort=True)
  result = compiling.compile_apart(task, 300)
  assert result.status == "ok"
  assert result.needed <= 15.75 * 2**30
  assert not [w for w in result.warnings if "head" in w or "a token" in w]
  assert result.collectives


@needs_compiler
def test_what_does_not_fit_is_named():
  small = (("optimizer.micro_batches", "1"),)
  task = Task(SEVEN, small, "v5e-16", "train", low_effort=True)
  result = compiling.compile_apart(task, 300)
  assert result.status == "out of memory"
  assert result.needed > 15.75 * 2**30


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(
  "name", sorted(path.stem for path in ROOT.glob("configs/qwen2_5_*.py"))
)
def test_the_papers_runs_fit_on_the_slices_that_they_name(capfd, name):
  file = f"configs/{name}.py"
  slice_ = re.search(r"--topology=(\S+)", (ROOT / file).read_text())[1]
  status, plan = _plan(
    capfd, f"--config={file}", f"--topology={slice_}", "--low-effort"
  )
  assert status == 0, plan["phases"]


def test_planning_from_the_shell_prints_help_quickly():
  done = subprocess.run(
    (sys.executable, "-m", "jaxrl_entropy", "plan", "--help"),
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0
  assert "exit status" in done.stdout
