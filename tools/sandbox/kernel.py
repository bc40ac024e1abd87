"""Linux calls that Python has no words for. Every one raises OSError where the kernel refuses or has no such call."""

import ctypes
import os
import sys

_NO_NEW_PRIVILEGES, _DEATH_SIGNAL, _SECCOMP, _FILTER = 38, 1, 22, 2
_CAPABILITIES_VERSION = 0x20080522
_SYSCALL_CAPSET = {"x86_64": 126, "aarch64": 91}
_LIBC = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def syscall(number: int, *arguments: object) -> int:
    """A system call by number."""
    return _checked("syscall", number, *arguments)


def unshare(flags: int) -> None:
    """Leave namespaces that were shared with the parent."""
    _checked("unshare", flags)


def forgo_privileges() -> None:
    """Never gain a privilege again, not even by starting a program that grants some."""
    _checked("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def die_with_parent(signal: int) -> None:
    """Ask for a signal when the parent's thread that forked us ends."""
    _checked("prctl", _DEATH_SIGNAL, signal, 0, 0, 0)


def drop_capabilities() -> None:
    """Give up all capabilities, which a new user namespace grants."""
    number = _SYSCALL_CAPSET.get(os.uname().machine)
    if number is None:
        raise OSError("the number of capset is not known here")
    header, none = _Header(_CAPABILITIES_VERSION, 0), (ctypes.c_uint32 * 6)()
    syscall(number, ctypes.byref(header), ctypes.byref(none))


def filter_calls(program: bytes) -> None:
    """Install a seccomp program for this process; it cannot be taken away again."""
    code = ctypes.create_string_buffer(program, len(program))
    described = _Program(len(program) // 8, ctypes.addressof(code))
    _checked("prctl", _SECCOMP, _FILTER, ctypes.byref(described), 0, 0)


def _checked(name: str, *arguments: object) -> int:
    if sys.platform != "linux":
        raise OSError(f"{name} is a call of Linux")
    result = int(getattr(_LIBC, name)(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result
