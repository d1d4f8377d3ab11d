"""The shell that a page's commands run in, and the folder that looks like a fresh clone."""
import os
import shutil
import signal
import socket
import subprocess
import time

from .output import compare, matches
from .pages import ROOT, Failure

TIMEOUT = 180


class Shell:
    """One bash for a page. Commands run in order; their output and status come back."""

    def __init__(self, folder, environment):
        self.folder, self.environment = folder, environment
        self.bash = subprocess.Popen(["bash", "--norc"], cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
        self.background = []

    def run(self, command):
        mark = f"--end-of-command-{time.monotonic_ns()}--"
        # `{ }` keeps variables and the working folder; the newline ends here-documents.
        self.bash.stdin.write(f"{{ {command}\n}} < /dev/null\nprintf '\\n%s %s\\n' {mark} $?\n")
        self.bash.stdin.flush()
        signal.alarm(TIMEOUT)
        lines = []
        for line in self.bash.stdout:
            if line.startswith(mark):
                break
            lines.append(line.rstrip("\n"))
        else:
            raise Failure("the shell ended:\n" + "\n".join(lines))
        signal.alarm(0)
        if lines and not lines[-1]:
            lines.pop()
        return lines, int(line.split()[1])

    def start(self, command, expected, tolerance):
        """Starts a command that goes on, and waits until it has printed what is expected."""
        log = self.folder / f".background-{len(self.background)}"
        with open(log, "w", encoding="utf-8") as out:
            process = subprocess.Popen(["bash", "-c", "exec " + command], cwd=self.folder, env=self.environment, stdout=out,
                                       stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        self.background.append(process)
        until = time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None:
            if matches(expected, log.read_text(encoding="utf-8").splitlines(), tolerance):
                return
            time.sleep(0.1)
        compare(expected, log.read_text(encoding="utf-8").splitlines(), tolerance)

    def close(self):
        for process in [*self.background, self.bash]:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()


def fresh_clone(folder):
    """Copies the tracked files (and new ones that git does not ignore), without the fuzzing corpora."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.split("\0")
    for name in listed:
        if name and not name.startswith("fuzz/corpus/") and (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)


def environment_of(binary, folder):
    """A home of its own, no network for weights, and `mbm` first in the PATH."""
    programs = folder / ".bin"
    programs.mkdir()
    (programs / "mbm").symlink_to(binary)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MBM", "HF_"))}
    return kept | {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder / ".home"), "MBM_CACHE_DIR": str(folder / ".cache"),
                   "HF_HOME": str(folder / ".hub"), "HF_HUB_OFFLINE": "1", "COLUMNS": "100", "LC_ALL": "C.UTF-8"}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def out_of_time(_signal, _frame):
    raise Failure(f"it took longer than {TIMEOUT} s; make it smaller, or say why it is not run")
