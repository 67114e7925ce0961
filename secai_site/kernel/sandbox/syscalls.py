"""Raw system calls and prctl by ctypes, for what Python's library does not offer."""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]


def syscall(number: int, *arguments: object) -> int:
    """The call's result; raises `OSError` where the kernel says no."""
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def prctl(option: int, argument: int = 0) -> int:
    """`prctl(option, argument, 0, 0, 0)`; raises `OSError` where the kernel says no."""
    result: int = _libc.prctl(option, argument, 0, 0, 0)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
