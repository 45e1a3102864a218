"""A Windows job object: ends a child and all processes that it started, when asked to or when we end.

See "Job Objects" in Microsoft's documentation. Linux and macOS have `guard` instead.
"""

from __future__ import annotations

from typing import cast

import pywintypes
import win32api
import win32con
import win32job


class Job:
    """Holds the process `pid` and all that it starts from now on. Raises OSError where it can't be held (it has ended, say)."""

    def __init__(self, pid: int) -> None:
        job = self._handle = cast(int, win32job.CreateJobObject(None, ""))  # the stubs have None
        limits = win32job.QueryInformationJobObject(job, win32job.JobObjectExtendedLimitInformation)
        # The last handle is ours, and Windows closes it whatever ends us.
        limits["BasicLimitInformation"]["LimitFlags"] |= win32job.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
        win32job.SetInformationJobObject(job, win32job.JobObjectExtendedLimitInformation, limits)
        access = win32con.PROCESS_SET_QUOTA | win32con.PROCESS_TERMINATE
        try:
            win32job.AssignProcessToJobObject(job, win32api.OpenProcess(access, False, pid))
        except pywintypes.error as error:
            raise OSError(error.winerror, error.strerror) from error

    def end(self) -> None:
        """Terminate every process of the job."""
        win32job.TerminateJobObject(self._handle, 1)
