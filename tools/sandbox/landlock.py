"""Landlock: no file may be opened, no TCP port used, no process outside signalled. Linux 5.13 and newer."""

import ctypes
import os

from tools.sandbox import kernel

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


def version() -> int:
    """Version of the kernel's interface. Raises OSError where there is none."""
    return kernel.syscall(_CREATE, None, 0, _ASK_VERSION)


def restrict(readable: int | None) -> None:
    """Forbid everything that this kernel's Landlock can, but reading the file behind one descriptor again.

    Privileges must have been forgone. Raises OSError.
    """
    known = version()
    files = (1 << max(bits for since, bits in _FILE_RIGHTS.items() if since <= known)) - 1
    rules = _Ruleset(files, 0b11 if known >= _TCP_SINCE else 0, 0b11 if known >= _SCOPES_SINCE else 0)
    size = 8 * (1 + (known >= _TCP_SINCE) + (known >= _SCOPES_SINCE))
    handle = kernel.syscall(_CREATE, ctypes.byref(rules), size, 0)
    try:
        if readable is not None:
            rule = _Rule(_READ_FILE, readable)
            kernel.syscall(_ADD, handle, _BENEATH, ctypes.byref(rule), 0)
        kernel.syscall(_RESTRICT, handle, 0)
    finally:
        os.close(handle)
