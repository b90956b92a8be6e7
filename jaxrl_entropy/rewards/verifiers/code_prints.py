"""Runs a model's program on several inputs inside one sandbox.

This process runs nothing of the program. It forks a child for each input, which
gives up its rights and runs the program as `code_script` does; so the sandbox
is made once and not for each test.
"""

import os

from jaxrl_entropy.rewards.verifiers import code_script


def main(request: dict) -> None:
  """Writes a record to the results file for each of the request's inputs.

  A record is a line with the exit status and the number of bytes printed, and
  these bytes. Children end by returning from here.
  """
  limit = request["limits"]["file_size"]
  for text in request["inputs"]:
    printed = _run(request, text)
    if printed is None:
      return
    status, descriptor = printed
    output = os.pread(descriptor, limit, 0)
    os.close(descriptor)
    os.write(request["results"], b"%d %d\n" % (status, len(output)) + output)


def _run(request: dict, text: bytes) -> tuple[int, int] | None:
  """The status and output file of a child; None in the child, at its end."""
  stdin, printed = os.memfd_create("input"), os.memfd_create("output")
  os.pwrite(stdin, text, 0)
  child = os.fork()
  if child == 0:
    os.dup2(stdin, 0)
    os.dup2(printed, 1)
    # It has no part in the other tests, nor in the results.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    code_script.main(request)
    return None
  os.close(stdin)
  _, status = os.waitpid(child, 0)
  # Each child may write as much to standard error as one alone.
  os.ftruncate(2, 0)
  os.lseek(2, 0, os.SEEK_SET)
  return os.waitstatus_to_exitcode(status), printed


def records(data: bytes) -> list[tuple[int, str]]:
  """Returns the exit statuses and outputs of a results file.

  A last record that was cut off when time was up is left out.

  Args:
    data: content of the file, as `main` writes it.
  """
  results = []
  while b"\n" in data:
    header, _, data = data.partition(b"\n")
    status, size = map(int, header.split())
    if size <= len(data):
      results.append((status, data[:size].decode(errors="replace")))
    data = data[size:]
  return results
