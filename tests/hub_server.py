"""A local server with the HTTP interface of the Hugging Face hub."""

import base64
from collections.abc import Iterator
import contextlib
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
from pathlib import Path
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
  """Repositories by kind and name, and what was asked of them.

  Attributes:
    repos: file contents by path, of each "models/ORG/NAME".
    revisions: names of the only commit of each repository.
    gated: repositories that answer 403.
    requests: "METHOD path" of every request, in order.
  """

  def __init__(self) -> None:
    self.repos: dict[str, dict[str, bytes]] = {}
    self.revisions = ("main", COMMIT, "v1")
    self.gated: set[str] = set()
    self.requests: list[str] = []

  def add(self, key: str, folder: Path) -> None:
    """Adds the files of a folder as a repository."""
    self.repos[key] = {
      str(path.relative_to(folder)): path.read_bytes()
      for path in folder.rglob("*")
      if path.is_file()
    }


@contextlib.contextmanager
def serve(hub: Hub) -> Iterator[str]:
  """Serves a hub on a free port of this machine; yields its address."""

  class Handler(_Handler):
    pass

  Handler.hub = hub
  server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
  thread = threading.Thread(target=server.serve_forever, daemon=True)
  thread.start()
  try:
    yield f"http://127.0.0.1:{server.server_port}"
  finally:
    server.shutdown()
    server.server_close()


class _Handler(BaseHTTPRequestHandler):
  hub: Hub
  protocol_version = "HTTP/1.1"

  def log_message(self, format: str, *args: Any) -> None:
    del format, args

  def do_GET(self) -> None:
    self._answer(body=True)

  def do_HEAD(self) -> None:
    self._answer(body=False)

  def do_POST(self) -> None:
    path = unquote(urlsplit(self.path).path)
    self.hub.requests.append(f"POST {path}")
    length = int(self.headers.get("Content-Length", 0))
    data = self.rfile.read(length) if length else self._chunks()
    if path == "/api/repos/create":
      wanted = json.loads(data)
      parts = wanted.get("organization"), wanted["name"]
      name = "/".join(filter(None, parts))
      self.hub.repos.setdefault(f"models/{name}", {})
      return self._json({"url": f"/{name}"})
    if path == "/api/validate-yaml":
      return self._json({"errors": [], "warnings": []})
    key, _, rest = path.removeprefix("/api/").partition("/preupload/")
    if rest:
      files = json.loads(data)["files"]
      modes = [
        {**file, "uploadMode": "regular", "shouldIgnore": False}
        for file in files
      ]
      return self._json({"files": modes})
    key, _, rest = path.removeprefix("/api/").partition("/commit/")
    for line in data.splitlines():
      entry = json.loads(line)
      if entry["key"] == "file":
        content = base64.b64decode(entry["value"]["content"])
        self.hub.repos[key][entry["value"]["path"]] = content
    url = f"/{key.removeprefix('models/')}/commit/{COMMIT}"
    return self._json({"success": True, "commitOid": COMMIT, "commitUrl": url})

  def _chunks(self) -> bytes:
    parts = []
    while size := int(self.rfile.readline() or b"0", 16):
      parts.append(self.rfile.read(size))
      self.rfile.readline()
    return b"".join(parts)

  def _answer(self, body: bool) -> None:
    path = unquote(urlsplit(self.path).path)
    self.hub.requests.append(f"{self.command} {path}")
    if path.startswith("/api/"):
      return self._api(path.removeprefix("/api/"))
    where, _, rest = path.strip("/").partition("/resolve/")
    key = where if where.startswith("datasets/") else f"models/{where}"
    revision, _, file = rest.partition("/")
    if not self._allowed(key, revision):
      return None
    content = self.hub.repos[key].get(file)
    if content is None:
      return self._error(404, "EntryNotFound")
    digest = hashlib.sha256(content).hexdigest()
    return self._send(
      content if body else b"",
      {
        "ETag": f'"{digest}"',
        "X-Repo-Commit": COMMIT,
        "Content-Length": str(len(content)),
      },
    )

  def _api(self, path: str) -> None:
    if path.count("/") < 2:
      return self._error(404, "NotFound")
    kind, org, name, *rest = path.split("/")
    key = f"{kind}/{org}/{name}"
    revision = rest[1] if len(rest) > 1 else "main"
    if not self._allowed(key, revision):
      return None
    files = self.hub.repos[key]
    if rest[:1] == ["tree"]:
      return self._json(
        [
          {
            "type": "file",
            "path": file,
            "size": len(content),
            "oid": hashlib.sha1(content).hexdigest(),
          }
          for file, content in files.items()
        ]
      )
    return self._json(
      {
        "id": f"{org}/{name}",
        "sha": COMMIT,
        "siblings": [{"rfilename": file} for file in files],
      }
    )

  def _allowed(self, key: str, revision: str) -> bool:
    if key not in self.hub.repos:
      self._error(404, "RepoNotFound")
    elif key in self.hub.gated:
      self._error(403, "GatedRepo")
    elif revision not in self.hub.revisions:
      self._error(404, "RevisionNotFound")
    else:
      return True
    return False

  def _error(self, status: int, code: str) -> None:
    self._send(b"{}", {"X-Error-Code": code}, status)

  def _json(self, value: Any) -> None:
    self._send(json.dumps(value).encode(), {"Content-Type": "application/json"})

  def _send(
    self, content: bytes, headers: dict[str, str], status: int = 200
  ) -> None:
    self.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **headers}.items():
      self.send_header(name, value)
    self.end_headers()
    if self.command != "HEAD":
      self.wfile.write(content)
