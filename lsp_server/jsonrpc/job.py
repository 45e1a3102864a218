"""A Windows job object: kills a child and every process that it started, on request or when Starling exits.

See "Job Objects" in Microsoft's documentation. On Linux and macOS `guard` does this.
"""

from __future__ import annotations

from typing import cast

import pywintypes
import win32api
import win32con
import win32job


class Job:
    """Contains the process `pid` and every process that it starts from now on. Raises OSError, if it has exited for example."""

    def __init__(self, pid: int) -> None:
        job = self._handle = cast(int, win32job.CreateJobObject(None, ""))  # the stubs say None
        found = win32job.QueryInformationJobObject(  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            job, win32job.JobObjectExtendedLimitInformation
        )
        limits = cast("dict[str, dict[str, int]]", found)
        # Only we have a handle of the job. Windows closes it however this process ends, and that kills the job's processes.
        limits["BasicLimitInformation"]["LimitFlags"] |= win32job.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
        win32job.SetInformationJobObject(  # pyright: ignore[reportUnknownMemberType]
            job, win32job.JobObjectExtendedLimitInformation, limits
        )
        access = win32con.PROCESS_SET_QUOTA | win32con.PROCESS_TERMINATE
        try:
            win32job.AssignProcessToJobObject(job, win32api.OpenProcess(access, False, pid))
        except pywintypes.error as error:
            raise OSError(error.winerror, error.strerror) from error

    def end(self) -> None:
        """Terminate every process of the job."""
        win32job.TerminateJobObject(self._handle, 1)  # pyright: ignore[reportUnknownMemberType]
