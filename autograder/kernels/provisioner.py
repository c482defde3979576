"""A kernel provisioner whose kernels have imported the lesson's libraries before they start.

Any Jupyter client can use it, by the name `warm`, in a kernelspec's metadata or as
JUPYTER_DEFAULT_PROVISIONER_NAME; see "Customizing the kernel's runtime environment" in the
documentation of jupyter_client.
"""

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress

from jupyter_client.provisioning import LocalProvisioner
from traitlets import List, Unicode


class WarmProvisioner(LocalProvisioner):
    """Start IPython kernels as forks of a warm server, one server for each client process.

    Other kernels, and all kernels where forks are not safe (macOS, Windows), start as usual.
    """

    preload = List(
        Unicode(),
        default_value=[
            "ipykernel.kernelapp",
            "autograder.checks",
            "datasets",
            "datasets.packaged_modules.csv.csv",
            "matplotlib.pyplot",
            "matplotlib_inline.backend_inline",
            "transformers.models.bert.modeling_bert",
            "transformers.models.auto.modeling_auto",
            "transformers.models.auto.tokenization_auto",
        ],
        help="Modules that a kernel finds imported.",
    ).tag(config=True)

    server = None  # shared by all provisioners of this process
    lock = threading.Lock()

    async def launch_kernel(self, cmd, **kwargs):
        """Fork the kernel that `cmd` describes; return its connection info."""
        if sys.platform != "linux" or cmd[1:3] != ["-m", "ipykernel_launcher"]:
            return await super().launch_kernel(cmd, **kwargs)
        cwd = kwargs.get("cwd") or os.getcwd()
        self.process = await asyncio.to_thread(self.fork, cmd[2:], dict(kwargs["env"]), cwd)
        self.pid = self.pgid = self.process.pid  # the kernel leads a session of its own
        return self.connection_info

    def fork(self, argv, env, cwd):
        """Return a ForkedKernel, from a new server where there is none or the last one died."""
        with self.lock:
            server = WarmProvisioner.server
            if server is None or not server.alive():
                server = WarmProvisioner.server = ForkServer(self.preload)
            return server.fork(argv, env, cwd)


class ForkServer:
    """The client's end of `autograder.kernels.server`."""

    def __init__(self, modules):
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Before its import matplotlib learns where figures go; OpenBLAS would start threads.
        env = {
            **os.environ,
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "autograder.kernels.server", *modules],
            stdin=theirs, env=env, start_new_session=True,
        )  # fmt: skip
        theirs.close()

    def alive(self):
        return self.process.poll() is None

    def fork(self, argv, env, cwd):
        """Return a ForkedKernel. Raises RuntimeError where the server died of it."""
        self.socket.send(json.dumps({"argv": argv, "env": env, "cwd": cwd}).encode())
        answer, files, _, _ = socket.recv_fds(self.socket, 16, 1)
        if not answer:
            raise RuntimeError("The fork server ended while it started a kernel; see its message above.")
        return ForkedKernel(files[0])


class ForkedKernel:
    """A kernel that is no child of this process: what LocalProvisioner needs of a Popen."""

    stdin = stdout = stderr = None

    def __init__(self, pidfd):
        self.pidfd = pidfd
        with open(f"/proc/self/fdinfo/{pidfd}") as info:
            self.pid = next(int(line.split()[1]) for line in info if line.startswith("Pid:"))

    def poll(self):
        """Return None while the kernel runs, then 0: its exit status is told to its parent only."""
        ended, _, _ = select.select([self.pidfd], [], [], 0)
        return 0 if ended else None

    def wait(self):
        select.select([self.pidfd], [], [])
        return 0

    def send_signal(self, number):
        with suppress(ProcessLookupError):  # as Popen does it
            signal.pidfd_send_signal(self.pidfd, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def __del__(self):
        os.close(self.pidfd)
