"""The seccomp filter of confined code: system calls that it may not make."""

import errno
from functools import cache
import tempfile

_CLONE_THREAD = 0x10000
_F_SETSIG, _F_SETOWN, _F_SETOWN_EX, _F_SETPIPE_SZ = 10, 8, 15, 1031
_FIOSETOWN, _SIOCSPGRP = 0x8901, 0x8902

# Calls that are newer than Linux 5.1 have one number on all architectures. The
# C library works without all but these.
_RECENT = range(424, 512)
_RECENT_ALLOWED = {436, 437, 439, 441, 449}  # close_range, openat2, faccessat2,
# epoll_pwait2, futex_waitv

_DENIED = """
fork vfork execve execveat setsid setpgid
kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo
socket connect bind listen accept accept4 sendmsg sendmmsg recvmsg recvmmsg
ptrace process_vm_readv process_vm_writev kcmp perf_event_open prctl
setrlimit setpriority ioprio_set
sched_setaffinity sched_setattr sched_setparam sched_setscheduler
setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups
capset personality unshare setns chroot pivot_root mount umount2
mknod mknodat name_to_handle_at open_by_handle_at
chmod fchmod fchmodat chown lchown fchown fchownat
utime utimes futimesat utimensat truncate link linkat
setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr
shmget shmat shmctl semget semctl semop msgget msgctl msgsnd mq_open mq_unlink
bpf keyctl add_key request_key userfaultfd
fanotify_init fanotify_mark inotify_init inotify_init1 inotify_add_watch
move_pages migrate_pages
init_module finit_module delete_module kexec_load kexec_file_load
reboot swapon swapoff acct quotactl syslog vhangup
settimeofday clock_settime clock_adjtime adjtimex
sethostname setdomainname iopl ioperm
""".split()  # noqa: SIM905


@cache
def available() -> bool:
  """Returns whether libseccomp and its Python binding are installed."""
  try:
    return bool(program())
  except (ImportError, OSError, RuntimeError):
    return False


@cache
def program() -> bytes:
  """Returns the BPF program that denies what confined code does not need.

  No new processes (threads are allowed), no signals, no sockets, no change to
  file modes, limits, identity or mounts.

  Raises:
    ImportError: pyseccomp is not installed.
    RuntimeError: libseccomp is not installed.
  """
  import pyseccomp as seccomp

  rules = seccomp.SyscallFilter(seccomp.ALLOW)
  deny = seccomp.ERRNO(errno.EPERM)
  for name in _DENIED:
    # Some calls exist on some architectures only.
    if _number(seccomp, name) >= 0:
      rules.add_rule(deny, name)
  for number in set(_RECENT) - _RECENT_ALLOWED:
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), number)
  arg = seccomp.Arg
  rules.add_rule(deny, "clone", arg(0, seccomp.MASKED_EQ, _CLONE_THREAD, 0))
  rules.add_rule(deny, "prlimit64", arg(0, seccomp.NE, 0))
  rules.add_rule(deny, "prlimit64", arg(2, seccomp.NE, 0))
  for command in (_F_SETSIG, _F_SETOWN, _F_SETOWN_EX, _F_SETPIPE_SZ):
    rules.add_rule(deny, "fcntl", arg(1, seccomp.EQ, command))
  # A pair of sockets may talk to itself, not to an address.
  rules.add_rule(deny, "sendto", arg(4, seccomp.NE, 0))
  for command in (_FIOSETOWN, _SIOCSPGRP):
    rules.add_rule(deny, "ioctl", arg(1, seccomp.EQ, command))
  with tempfile.TemporaryFile() as file:
    rules.export_bpf(file)
    file.seek(0)
    return file.read()


def _number(seccomp, name: str) -> int:
  """The system call's number here; negative where it does not exist."""
  return seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
