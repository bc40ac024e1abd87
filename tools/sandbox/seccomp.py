"""The system calls that decoding needs, as a seccomp program made by libseccomp. All others fail with EPERM."""

import ctypes
import errno
import os

from tools.sandbox import kernel

_CALLS = """
    read readv pread64 preadv lseek fstat newfstatat statx close fcntl dup write writev sendto sendmsg
    brk munmap mremap madvise futex futex_waitv get_robust_list set_robust_list rseq membarrier
    sched_yield sched_getaffinity getcpu getpid gettid getrandom getrusage times uname sysinfo
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time
    rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall exit exit_group
""".split()
"""Reading and writing what is open, memory, time. Nothing here opens, connects, starts or signals."""

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_MASKED_EQUAL = 7
_EXECUTABLE = 0x4
_WRITING = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
_THREAD = 0x00010000
_LIBRARY = "libseccomp.so.2"


class _Test(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


def program(opens: bool) -> bytes:
    """The filter; with `opens` for libraries that open their file themselves, for reading, and start threads.

    Raises OSError without libseccomp.
    """
    library = ctypes.CDLL(_LIBRARY)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ERRNO | errno.EPERM)))
    try:
        for name in _CALLS:
            _add(library, context, name)
        for name in ("mmap", "mprotect"):  # memory is never made executable
            _add(library, context, name, _Test(2, _MASKED_EQUAL, _EXECUTABLE, 0))
        if opens:
            _add(library, context, "openat", _Test(2, _MASKED_EQUAL, _WRITING, os.O_RDONLY))
            _add(library, context, "clone", _Test(0, _MASKED_EQUAL, _THREAD, _THREAD))
            # Its flags lie in memory, where no filter can look; without it the C library takes clone.
            _add(library, context, "clone3", action=_ERRNO | errno.ENOSYS)
        return _exported(library, context)
    finally:
        library.seccomp_release(context)


def load(code: bytes) -> None:
    """Put this process under the filter for good. Privileges must have been forgone. Raises OSError."""
    kernel.filter_calls(code)


def _add(
    library: ctypes.CDLL, context: ctypes.c_void_p, name: str, test: _Test | None = None, action: int = _ALLOW
) -> None:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number < 0:
        return  # this machine has no such call, so nobody can miss it
    tests = (_Test * 1)(test) if test else None
    code = library.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, int(test is not None), tests)
    if code < 0:
        raise OSError(-code, f"libseccomp has no rule for {name}: {os.strerror(-code)}")


def _exported(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    file = os.memfd_create("filter")
    try:
        code = library.seccomp_export_bpf(context, file)
        if code < 0:
            raise OSError(-code, f"libseccomp cannot make the filter: {os.strerror(-code)}")
        return os.pread(file, os.fstat(file).st_size, 0)
    finally:
        os.close(file)
