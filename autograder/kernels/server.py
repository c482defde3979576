"""The fork server: import what the lesson imports once, then fork a kernel for each request.

    python -P -m autograder.kernels.server MODULE ...   with one end of a socket pair as stdin

A request is a JSON object {argv, env, cwd}; the answer is a pidfd of the new kernel. The server
ends when the other end of the socket closes, and its kernels with it (ipykernel's parent poller).
"""

import json
import os
import random
import signal
import socket
import sys
import threading
from importlib import import_module


def main(modules):
    """Import `modules`, then serve until the client is gone."""
    os.environ["JPY_PARENT_PID"] = str(os.getpid())  # ipykernel reads it when it is imported
    for module in modules:
        import_module(module)
    # A fork copies only the thread that calls it: any other would be missing, its locks held.
    assert threading.active_count() == 1, threading.enumerate()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the client
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # kernels that ended leave no zombies
    with socket.socket(fileno=os.dup(0)) as client:
        while message := client.recv(2**20):
            pid = os.fork()
            if pid == 0:
                client.close()
                return become_kernel(**json.loads(message))
            kernel = os.pidfd_open(pid)
            socket.send_fds(client, [b"kernel"], [kernel])
            os.close(kernel)


def become_kernel(argv, env, cwd):
    """Turn this fresh fork into the kernel that `argv` describes, as if it had been started cold."""
    os.setsid()  # signals to its process group reach the kernel and what it starts, nobody else
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    reseed()
    sys.argv = argv
    from ipykernel.kernelapp import IPKernelApp

    try:
        IPKernelApp.launch_instance(argv[1:])
    finally:
        # Unloading every library takes seconds, and the memory is the server's anyway.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def reseed():
    """Draw new random states: a fork starts with its parent's, the same for every kernel."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].seed()


if __name__ == "__main__":
    main(sys.argv[1:])
