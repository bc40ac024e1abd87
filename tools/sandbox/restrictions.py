"""Confine a worker: it may use limited memory and time, and read one open file (rlimits, Landlock, seccomp)."""

import contextlib
import ctypes
import errno
import math
import os
import resource
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_NO_NEW_PRIVILEGES, _DEATH_SIGNAL, _SECCOMP, _FILTER = 38, 1, 22, 2
_CAPABILITIES_VERSION = 0x20080522
_SYSCALL_CAPSET = {"x86_64": 126, "aarch64": 91}
_LIBC = ctypes.CDLL(None, use_errno=True)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _SeccompProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def syscall(number: int, *arguments: object) -> int:
    """A system call by number."""
    return _call("syscall", number, *arguments)


def unshare(flags: int) -> None:
    """Leave namespaces that were shared with the parent."""
    _call("unshare", flags)


def forgo_privileges() -> None:
    """Never gain a privilege again, not even by starting a program that grants some."""
    _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def die_with_parent(signal: int) -> None:
    """Ask for a signal when the parent's thread that forked us ends."""
    _call("prctl", _DEATH_SIGNAL, signal, 0, 0, 0)


def drop_capabilities() -> None:
    """Give up all capabilities, which a new user namespace grants."""
    number = _SYSCALL_CAPSET.get(os.uname().machine)
    if number is None:
        raise OSError("the number of capset is not known here")
    header, none = _CapabilityHeader(_CAPABILITIES_VERSION, 0), (ctypes.c_uint32 * 6)()
    syscall(number, ctypes.byref(header), ctypes.byref(none))


def install_seccomp_filter(program: bytes) -> None:
    """Install a seccomp program for this process; it cannot be taken away again."""
    code = ctypes.create_string_buffer(program, len(program))
    described = _SeccompProgram(len(program) // 8, ctypes.addressof(code))
    _call("prctl", _SECCOMP, _FILTER, ctypes.byref(described), 0, 0)


def _call(name: str, *arguments: object) -> int:
    if sys.platform != "linux":
        raise OSError(f"{name} is a call of Linux")
    result = int(getattr(_LIBC, name)(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


_CREATE, _ADD, _RESTRICT = 444, 445, 446
_ASK_VERSION, _BENEATH = 1, 1
_READ_FILE = 1 << 2
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights to files a version of the interface knows, from the version on."""
_TCP_SINCE, _SCOPES_SINCE = 4, 6


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Rule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("file", ctypes.c_int32))


def landlock_version() -> int:
    """Version of the kernel's interface. Raises OSError where there is none."""
    return syscall(_CREATE, None, 0, _ASK_VERSION)


def apply_landlock(readable: int | None) -> None:
    """Forbid everything that this kernel's Landlock can, but reading the file behind one descriptor again.

    Privileges must have been forgone. Raises OSError.
    """
    known = landlock_version()
    files = (1 << max(bits for since, bits in _FILE_RIGHTS.items() if since <= known)) - 1
    rules = _Ruleset(files, 0b11 if known >= _TCP_SINCE else 0, 0b11 if known >= _SCOPES_SINCE else 0)
    size = 8 * (1 + (known >= _TCP_SINCE) + (known >= _SCOPES_SINCE))
    handle = syscall(_CREATE, ctypes.byref(rules), size, 0)
    try:
        if readable is not None:
            rule = _Rule(_READ_FILE, readable)
            syscall(_ADD, handle, _BENEATH, ctypes.byref(rule), 0)
        syscall(_RESTRICT, handle, 0)
    finally:
        os.close(handle)


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


def seccomp_program(opens: bool) -> bytes:
    """The filter; with `opens` for libraries that open their file themselves, for reading, and start threads.

    Raises OSError without libseccomp.
    """
    library = ctypes.CDLL(_LIBRARY)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ERRNO | errno.EPERM)))
    try:
        for name in _CALLS:
            _allow(library, context, name)
        for name in ("mmap", "mprotect"):  # memory is never made executable
            _allow(library, context, name, _Test(2, _MASKED_EQUAL, _EXECUTABLE, 0))
        if opens:
            _allow(library, context, "openat", _Test(2, _MASKED_EQUAL, _WRITING, os.O_RDONLY))
            _allow(library, context, "clone", _Test(0, _MASKED_EQUAL, _THREAD, _THREAD))
            # Its flags lie in memory, where no filter can look; without it the C library takes clone.
            _allow(library, context, "clone3", action=_ERRNO | errno.ENOSYS)
        return _export(library, context)
    finally:
        library.seccomp_release(context)


def apply_seccomp(code: bytes) -> None:
    """Put this process under the filter for good. Privileges must have been forgone. Raises OSError."""
    install_seccomp_filter(code)


def _allow(
    library: ctypes.CDLL, context: ctypes.c_void_p, name: str, test: _Test | None = None, action: int = _ALLOW
) -> None:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number < 0:
        return  # this machine has no such call, so nobody can miss it
    tests = (_Test * 1)(test) if test else None
    code = library.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, int(test is not None), tests)
    if code < 0:
        raise OSError(-code, f"libseccomp has no rule for {name}: {os.strerror(-code)}")


def _export(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    file = os.memfd_create("filter")
    try:
        code = library.seccomp_export_bpf(context, file)
        if code < 0:
            raise OSError(-code, f"libseccomp cannot make the filter: {os.strerror(-code)}")
        return os.pread(file, os.fstat(file).st_size, 0)
    finally:
        os.close(file)


_FILES = 32
"""Descriptors a worker may hold; it needs its video, its stream, and decord a few."""
_NEW_NAMESPACES = 0x10000000 | 0x40000000 | 0x08000000
"""User, network and System V objects."""
_NOBODY_LISTENS = 9


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """Bytes of memory on top of what a worker starts with, and seconds of processor time."""

    memory: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Restrictions:
    """Made once and raised in every worker. `opens`: the decoding library opens its file by itself."""

    filter: bytes | None
    opens: bool

    @classmethod
    def make(cls, opens: bool) -> "Restrictions":
        """Without a filter where libseccomp is missing."""
        try:
            return cls(seccomp_program(opens), opens)
        except OSError:
            return cls(None, opens)

    def apply(self, allowance: ResourceLimits, video: int) -> tuple[str, ...]:
        """Restrict this process for good, as far as this machine can; the names of what restricts it."""
        _set_rlimits(allowance, processes=self.opens)
        means = ["rlimits"]
        with contextlib.suppress(OSError):
            forgo_privileges()
            means.append("no new privileges")
        with contextlib.suppress(OSError):
            apply_landlock(video if self.opens else None)
            means.append("landlock")
        if self.filter is not None:
            with contextlib.suppress(OSError):
                apply_seccomp(self.filter)
                means.append("seccomp")
        return tuple(means)


def leave_namespaces() -> tuple[str, ...]:
    """Cut this process and its children off from the network, if the kernel lets us; the names of what did."""
    try:
        unshare(_NEW_NAMESPACES)
        drop_capabilities()
    except OSError:
        return ()
    return ("namespaces",)


def find_gaps(allowance: ResourceLimits, parent: int) -> tuple[str, ...]:
    """Try what the restrictions should prevent; returns the names of what they do not."""
    deeds: dict[str, Callable[[], object]] = {
        "the network": _try_network,
        "other files": _try_open,
        "starting processes": _try_fork,
        "signalling other processes": lambda: os.kill(parent, 0),
        "more memory": lambda: bytearray(2 * allowance.memory),
    }
    return tuple(name for name, deed in deeds.items() if not _fails(deed))


def _set_rlimits(allowance: ResourceLimits, processes: bool) -> None:
    seconds = math.ceil(allowance.seconds)
    most = _address_space() + allowance.memory
    limits: Sequence[tuple[int, int, int]] = (
        (resource.RLIMIT_AS, most, most),
        (resource.RLIMIT_CPU, seconds, seconds + 1),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, _FILES, _FILES),
        *(() if processes else ((resource.RLIMIT_NPROC, 0, 0),)),
    )
    for kind, soft, hard in limits:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (soft, hard))


def _address_space() -> int:
    """Bytes of address space in use; 0 where nobody says."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _fails(deed: Callable[[], object]) -> bool:
    try:
        deed()
    except (OSError, MemoryError):
        return True
    return False


def _try_network() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("127.0.0.1", _NOBODY_LISTENS))


def _try_open() -> None:
    with Path(__file__).open("rb"):
        pass


def _try_fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
