"""Runs one command. When the command exits, or our parent process does, kills every process that the command started.

    python -I -S guard.py FD COMMAND [ARGUMENT ...]

FD is a socket. This process writes one line to it, "started PID" or "failed ERRNO". When it reads the socket's end of file, it
kills everything. It forwards SIGTERM to the command's process group, and exits with the command's exit code or signal. The
command inherits the standard streams.

On Linux this process is a subreaper (prctl(2)): orphaned descendants become its children, so that none escapes. On other systems
it kills the command's process group. It imports little, to start fast.
"""

import os
import select
import signal
import sys
import time

assert sys.platform != "win32"  # Windows has job objects instead (`job`)

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
PATIENCE = 5.0  # seconds to wait until killed processes are gone


def main(life: int, command: list[str]) -> None:
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    os.set_inheritable(life, False)
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    terminated: list[int] = []
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGTERM, lambda number, frame: terminated.append(number))
    pid = start(command, life)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # close our copies, so that the streams end when the command closes its own
        os.dup2(nowhere, stream)
    status = None
    while status is None:
        ready, _, _ = select.select([life, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
        if terminated:
            terminated.clear()
            signal_group(pid, signal.SIGTERM)
        if life in ready:
            break
        status = reaped().get(pid)
    status = end_descendants(pid, status)
    end_as(status)


def start(command: list[str], life: int) -> int:
    """Start the command in its own session, and report it on `life`. Returns its pid; exits if it can't be started."""
    failure, failing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # if this guard is killed, the kernel kills the command
            os.execv(command[0], command)
        except OSError as error:
            os.write(failing, b"%d" % (error.errno or 0))
        finally:
            os._exit(127)
    os.close(failing)
    errno = os.read(failure, 16)
    os.close(failure)
    os.write(life, b"failed %b\n" % errno if errno else b"started %d\n" % pid)
    if errno:
        os._exit(127)
    return pid


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process (prctl(2)). Does nothing on other systems than Linux."""
    if LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(option, value)


def signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # the group has ended


def reaped() -> dict[int, int]:
    """Reap the children that have exited. Returns their wait statuses by pid."""
    found: dict[int, int] = {}
    try:
        while (done := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            found[done[0]] = done[1]
    except ChildProcessError:
        pass  # no children
    return found


def end_descendants(pid: int, status: int | None) -> int:
    """Kill every descendant and reap it. Returns the command's wait status."""
    if not LINUX:
        signal_group(pid, signal.SIGKILL)
        return status if status is not None else os.waitpid(pid, 0)[1]
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        for descendant in descendants():
            try:
                os.kill(descendant, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        ended = reaped()
        status = ended.get(pid, status)
        if not ended:
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break  # no child is left, and so no descendant
            time.sleep(0.005)
    return signal.SIGKILL if status is None else status


def descendants() -> list[int]:
    """The pids of all descendants of this process (proc(5))."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue  # it has exited meanwhile
            children.setdefault(parent, []).append(int(name))
    found: list[int] = []
    pending = [os.getpid()]
    while pending:
        below = children.get(pending.pop(), [])
        found += below
        pending += below
    return found


def end_as(status: int) -> None:
    """Exit with the same exit code, or by the same signal."""
    if os.WIFSIGNALED(status):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
