"""Names on the hub, against a local server with the hub's HTTP interface."""

import json
import os
from pathlib import Path
import subprocess
import sys

import huggingface_hub
import pytest

from jaxrl_entropy import hub
from jaxrl_entropy.errors import UserError
from tests.hub_server import COMMIT, Hub, serve

FIXTURES = Path(__file__).parent / "fixtures" / "models"
MODEL = "lab/tiny"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
  server = Hub()
  folder = next(iter(sorted(FIXTURES.glob("qwen2_tied*"))))
  server.add(f"models/{MODEL}", folder)
  server.repos[f"models/{MODEL}"]["pytorch_model.bin"] = b"not fetched"
  server.repos["models/lab/gated"] = {"config.json": b"{}"}
  server.gated.add("models/lab/gated")
  rows = tmp_path_factory.mktemp("rows")
  (rows / "main").mkdir()
  (rows / "main" / "train-0.jsonl").write_text(
    json.dumps({"question": "What is 1+1?", "answer": "1+1=2\n#### 2"})
  )
  (rows / "main" / "test-0.jsonl").write_text("{}")
  server.add("datasets/lab/sums", rows)
  with serve(server) as address:
    yield server, address


def run(code, address, home, **environment):
  """Runs `code` in a process whose hub is at `address`."""
  done = subprocess.run(
    (sys.executable, "-c", code),
    capture_output=True,
    text=True,
    env={
      **os.environ,
      "HF_ENDPOINT": address,
      "HF_HOME": str(home),
      "JAX_PLATFORMS": "cpu",
      **environment,
    },
  )
  return done.stdout.strip(), done.stderr


FETCH = (
  "from jaxrl_entropy import hub, errors\n"
  "try: print(hub.fetch_model({name!r}, 'config.model.weights'))\n"
  "except errors.UserError as error: print('refused:', error)\n"
)


@pytest.mark.parametrize(
  ("text", "is_name"),
  [
    ("Qwen/Qwen2.5-0.5B", True),
    ("Qwen/Qwen2.5-0.5B@v1", True),
    ("runs/study/grpo", False),
    ("./models/mine", False),
    ("model.gguf", False),
  ],
)
def test_what_can_be_a_name(text, is_name):
  assert hub.is_name(text) == is_name


def test_an_existing_path_is_no_name(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "lab" / "tiny").mkdir(parents=True)
  assert not hub.is_name("lab/tiny")


def test_a_model_is_fetched_once_and_found_offline(served, tmp_path):
  server, address = served
  server.requests.clear()
  path, errors = run(FETCH.format(name=MODEL), address, tmp_path)
  assert COMMIT in path, errors
  files = {p.name for p in Path(path).iterdir()}
  assert {"config.json", "model.safetensors"} <= files or any(
    name.endswith(".safetensors") for name in files
  )
  assert "pytorch_model.bin" not in files
  gone, errors = run(
    FETCH.format(name=MODEL), "http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1"
  )
  assert gone == path, errors


def test_a_revision_is_pinned(served, tmp_path):
  _, address = served
  path, errors = run(FETCH.format(name=f"{MODEL}@v1"), address, tmp_path)
  assert COMMIT in path, errors


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("lab/nothing", "no such repository"),
    ("lab/gated", "has to be granted"),
    (f"{MODEL}@v2", "no such revision"),
  ],
)
def test_what_cannot_be_had_is_one_line(served, tmp_path, name, message):
  _, address = served
  said, _ = run(FETCH.format(name=name), address, tmp_path)
  assert said.startswith(f"refused: config.model.weights is {name!r}")
  assert message in said
  assert "\n" not in said


@pytest.mark.parametrize("offline", ["0", "1"])
def test_without_a_network_the_remedy_is_named(tmp_path, offline):
  said, _ = run(
    FETCH.format(name=MODEL),
    "http://127.0.0.1:9",
    tmp_path,
    HF_HUB_OFFLINE=offline,
  )
  assert "the cache does not hold it" in said
  assert "\n" not in said


def test_a_data_set_is_a_task(served, tmp_path):
  _, address = served
  code = (
    "from jaxrl_entropy.data.task import resolve\n"
    "task = resolve('files', dict(path='hub:lab/sums:main/train-*.jsonl',"
    "test_path='hub:lab/sums:main/train-*.jsonl'))\n"
    "print(task.problem('train', 0).answer)\n"
  )
  said, errors = run(code, address, tmp_path)
  assert said == "2", errors


def test_a_folder_is_pushed(served, tmp_path):
  server, address = served
  folder = tmp_path / "mine"
  folder.mkdir()
  (folder / "config.json").write_text('{"a": 1}')
  code = (
    "from pathlib import Path\n"
    "from jaxrl_entropy import hub\n"
    f"print(hub.push(Path({str(folder)!r}), 'lab/mine'))\n"
  )
  said, errors = run(code, address, tmp_path / "home", HF_TOKEN="hf_x")
  assert "lab/mine" in said, errors
  assert server.repos["models/lab/mine"]["config.json"] == b'{"a": 1}'


def test_a_refused_push_names_its_flags(monkeypatch, tmp_path):
  def unreachable(*_, **__):
    raise ConnectionError("no network")

  monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", unreachable)
  with pytest.raises(UserError, match=r"^--to=hub --target=lab/mine: "):
    hub.push(tmp_path, "lab/mine")
