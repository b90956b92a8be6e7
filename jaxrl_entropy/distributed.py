"""Joins the processes of one job: a TPU pod, SLURM, or told explicitly."""

from collections.abc import Mapping
import os
import signal

import jax

from jaxrl_entropy.errors import UserError

COORDINATOR = "JAX_COORDINATOR_ADDRESS"
PROCESSES = "JAX_NUM_PROCESSES"
PROCESS = "JAX_PROCESS_ID"
TPU_POD = "JAXRL_TPU_POD"


def start() -> None:
  """Connects this process to the others of its job; does nothing if alone.

  The environment decides:

  * `JAX_COORDINATOR_ADDRESS` (host:port), `JAX_NUM_PROCESSES` and
    `JAX_PROCESS_ID`, all three;
  * SLURM, inside a step (`srun`) of several tasks;
  * TPU hosts: `TPU_WORKER_HOSTNAMES` names several, or there are several
    slices by `MEGASCALE_NUM_SLICES` (GKE sets both), or `JAXRL_TPU_POD` is set
    (launch/tpu_pod.sh sets it).

  It must run before anything asks JAX for its devices.

  Raises:
    UserError: if the explicit variables are incomplete or not numbers.
  """
  settings = _settings(os.environ)
  if settings is not None:
    before = signal.getsignal(signal.SIGTERM)
    jax.distributed.initialize(**settings)
    # JAX now takes note of a SIGTERM and goes on. Until training listens for
    # it there is nothing to save, and it should end the process.
    signal.signal(signal.SIGTERM, before)


def _settings(environment: Mapping[str, str]) -> dict | None:
  """Arguments of jax.distributed.initialize; None for a process alone."""
  if COORDINATOR in environment:
    return _explicit(environment)
  tasks = int(environment.get("SLURM_STEP_NUM_TASKS", 1))
  hosts = environment.get("TPU_WORKER_HOSTNAMES", "").count(",") + 1
  slices = int(environment.get("MEGASCALE_NUM_SLICES", 1))
  together = max(tasks, hosts, slices) > 1 or TPU_POD in environment
  return {} if together else None


def _explicit(environment: Mapping[str, str]) -> dict:
  try:
    return {
      "coordinator_address": environment[COORDINATOR],
      "num_processes": int(environment[PROCESSES]),
      "process_id": int(environment[PROCESS]),
    }
  except (KeyError, ValueError) as error:
    raise UserError(
      f"{COORDINATOR} is set, so {PROCESSES} and {PROCESS} must be numbers "
      f"({error}); set them, or unset {COORDINATOR} to run one process"
    ) from None
