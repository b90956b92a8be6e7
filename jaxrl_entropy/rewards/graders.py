"""Judges one response at a time, in the process that its verifier calls for."""

from collections.abc import Iterable, Mapping
import json
import threading
from typing import Any

from jaxrl_entropy import registry
from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.rewards import catalog
from jaxrl_entropy.rewards.sandbox import imports
from jaxrl_entropy.rewards.sandbox.launch import choose
from jaxrl_entropy.rewards.sandbox.workers import Worker
from jaxrl_entropy.rewards.verifiers import code
from jaxrl_entropy.rewards.verifiers.judge import Judge


class Graders:
  """All verifiers of a run; safe to call from several threads.

  Args:
    timeout: seconds for one response.
    sandbox: the level, or "auto"; looked for when it is first needed.
    judge: settings of the verifier `judge`, see `Judge`.
    packages: installed packages that programs may import.
    folders: folders that own verifiers may read besides their own.

  Raises:
    UserError: a package is not installed, or a folder is not there.
  """

  def __init__(
    self,
    timeout: float,
    sandbox: str,
    judge: Mapping[str, Any],
    packages: Iterable[str],
    folders: Iterable[str],
  ):
    self._timeout, self._sandbox, self._judge = timeout, sandbox, judge
    self._packages = imports.of_packages(packages)
    self._folders = tuple(folders)
    imports.of_folders(self._folders)  # Refuses one that is not there.
    self._local, self._lock = threading.local(), threading.Lock()
    self._workers: list[Worker] = []
    self._judges: dict[str, Judge] = {}
    self._checked: set[str] = set()

  def close(self) -> None:
    for worker in self._workers:
      worker.close()

  def check(self, verifier: str, args: Mapping[str, Any]) -> None:
    """Checks, before there are responses, that a verifier could judge here.

    Args:
      verifier: a name of `catalog`, or the import path of a function.
      args: further keyword arguments of the verifier.

    Raises:
      UserError: it does not exist, lacks its package, does not load in the
        sandbox, this machine has no sandbox for it, or the judge does not
        answer.
    """
    catalog.check_names([verifier])
    key = _key(verifier, args)
    # Once: a judge that is away later costs single responses, not the run.
    if verifier in catalog.INLINE or key in self._checked:
      return
    if verifier == catalog.JUDGE:
      self._judge_of(args).check()
    else:
      catalog.check_package(verifier)
      level = choose(self._sandbox)
      if ":" in verifier:
        worker = self._new_worker(level, verifier, args)
        worker.start()
        worker.close()
    self._checked.add(key)

  def grade(
    self, problem: Problem, response: str, args: Mapping[str, Any]
  ) -> tuple[float, str | None]:
    """Returns the verifier's reward, and why there is none where it failed.

    Args:
      problem: names the verifier.
      response: a model's text.
      args: further keyword arguments of the verifier.

    Raises:
      SandboxError: this machine cannot give the sandbox that is needed.
      Exception: any other; the verifier could not judge this response.
    """
    name = problem.verifier
    decide = catalog.here(name)
    reward = decide(problem, response, **args) if decide else None
    if reward is not None:
      return reward, None
    if name == catalog.JUDGE:
      return self._judge_of(args)(problem, response), None
    level = choose(self._sandbox)
    if name == catalog.PROGRAM:
      return code.verify(
        problem, response, level, self._timeout, self._packages
      )
    return self._worker(level, name, args).score(problem, response)

  def _worker(
    self, level: str, verifier: str, args: Mapping[str, Any]
  ) -> Worker:
    """This thread's worker for a verifier."""
    workers, key = self._local.__dict__, _key(verifier, args)
    if key not in workers:
      workers[key] = self._new_worker(level, verifier, args)
      self._workers.append(workers[key])
    return workers[key]

  def _new_worker(
    self, level: str, verifier: str, args: Mapping[str, Any]
  ) -> Worker:
    path = catalog.SANDBOXED.get(verifier, verifier)
    items = catalog.REUSE.get(path, 1)
    return Worker(level, path, self._timeout, items, args, self._folders)

  def _judge_of(self, args: Mapping[str, Any]) -> Judge:
    key = _key(catalog.JUDGE, args)
    with self._lock:
      if key not in self._judges:
        settings = {**self._judge, **args}
        known = {catalog.JUDGE: Judge}
        self._judges[key] = registry.call(
          "verifier", catalog.JUDGE, settings, known
        )
      return self._judges[key]


def _key(verifier: str, args: Mapping[str, Any]) -> str:
  return f"{verifier} {json.dumps(dict(args), sort_keys=True, default=str)}"
