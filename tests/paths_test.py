"""Paths, and copies from a real object store on this machine."""

import subprocess
import sys

import pytest

from jaxrl_entropy import paths
from jaxrl_entropy.data import reading
from jaxrl_entropy.errors import UserError
from tests import devices


@pytest.mark.parametrize("url", ["gs://bucket/run", "s3://b", "gs:/bucket/run"])
def test_a_run_is_written_to_a_folder_only(url):
  with pytest.raises(UserError) as error:
    paths.local_folder(url, "--workdir")
  assert str(error.value).startswith(f"--workdir={url} is no folder of this")
  assert "mount the bucket" in str(error.value)


def test_an_empty_folder_name_is_not_the_current_folder():
  with pytest.raises(UserError, match="--workdir is empty"):
    paths.local_folder("", "--workdir")


@pytest.mark.parametrize("path", ["runs/a", "/mnt/a:b/c", "C", "a=1,b=2"])
def test_other_names_are_paths(path, tmp_path):
  assert paths.local_folder(path, "--workdir") == paths.Path(path)
  assert paths.fetch(path, "x") == paths.Path(path)


@pytest.mark.parametrize("command", ["train", "sft", "sweep"])
@pytest.mark.parametrize("workdir", ["gs://bucket/run", ""])
def test_commands_refuse_it_and_leave_nothing(tmp_path, command, workdir):
  config = devices.ROOT / "tests" / "training" / "tiny_config.py"
  done = subprocess.run(
    (
      *(sys.executable, "-m", "jaxrl_entropy", command),
      *(f"--config={config}:grpo", f"--workdir={workdir}"),
    ),
    cwd=tmp_path,
    env=devices.environment(1) | {"PYTHONPATH": str(devices.ROOT)},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2
  (line,) = done.stderr.splitlines()
  assert "--workdir" in line
  assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def bucket():
  """A bucket of an S3 server on this machine; yields its file system."""
  server = pytest.importorskip("moto.server", reason="moto is not installed")
  fsspec = pytest.importorskip("fsspec")
  pytest.importorskip("s3fs", reason="the extra s3 is not installed")
  running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
  running.start()
  host, port = running.get_host_and_port()
  patch = pytest.MonkeyPatch()
  for name, value in {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ENDPOINT_URL": f"http://{host}:{port}",
  }.items():
    patch.setenv(name, value)
  store = fsspec.filesystem("s3", skip_instance_cache=True)
  store.mkdir("bucket")
  yield store
  patch.undo()
  running.stop()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")


def test_a_file_is_fetched_once_until_it_changes(bucket, tmp_path):
  bucket.pipe("bucket/a.jsonl", b"1\n")
  first = paths.fetch("s3://bucket/a.jsonl", "task.args.path")
  assert (first.name, first.read_bytes()) == ("a.jsonl", b"1\n")
  first.write_bytes(b"kept")
  again = paths.fetch("s3://bucket/a.jsonl", "task.args.path")
  assert (again, again.read_bytes()) == (first, b"kept")
  bucket.pipe("bucket/a.jsonl", b"2\n")
  assert paths.fetch("s3://bucket/a.jsonl", "x").read_bytes() == b"2\n"
  # Nothing that is not complete is left.
  assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_folder_is_fetched_whole(bucket):
  bucket.pipe({"bucket/hf/config.json": b"{}", "bucket/hf/sub/w": b"123"})
  for url in ("s3://bucket/hf", "s3://bucket/hf/"):
    folder = paths.fetch(url, "model.weights")
    assert folder.name == "hf"
    assert (folder / "config.json").read_bytes() == b"{}"
    assert (folder / "sub" / "w").read_bytes() == b"123"


def test_data_of_a_bucket_are_read_by_pattern(bucket):
  for name in "ba":
    bucket.pipe(f"bucket/data/{name}.jsonl", f'{{"x": "{name}"}}\n'.encode())
  files = reading.expand("s3://bucket/data/*.jsonl")
  assert [file.name for file in files] == ["a.jsonl", "b.jsonl"]
  assert b'"a"' in files[0].read_bytes()
  with pytest.raises(ValueError, match="no such file"):
    reading.expand("s3://bucket/nothing/*.jsonl")


@pytest.mark.parametrize(
  ("url", "message"),
  [
    ("s3://bucket/nothing", "there is no such object"),
    ("s3://no-such-bucket/x", "there is no such object|cannot be read"),
    ("nosuch://x/y", "nosuch:// cannot be read here"),
  ],
)
def test_what_cannot_be_read_names_the_setting(bucket, url, message):
  with pytest.raises(UserError, match=message) as error:
    paths.fetch(url, "config.model.weights")
  assert str(error.value).startswith(f"config.model.weights is {url!r}")


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
  import fsspec

  def refuse(url):
    raise ImportError("Install gcsfs to access GCS")

  monkeypatch.setattr(fsspec.core, "url_to_fs", refuse)
  with pytest.raises(UserError, match=r"pip install 'jaxrl_entropy\[gcs\]'"):
    paths.fetch("gs://bucket/x", "config.model.weights")
