"""What a sandboxed kernel can and cannot do; whole submissions that attack are in tests/attacks."""

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import gone
from jupyter_client.manager import KernelManager
from traitlets.config import Config

from autograder.kernels import sandbox
from autograder.kernels.provisioner import NoSandbox, WarmProvisioner

needs_sandbox = pytest.mark.skipif(sandbox.missing() is not None, reason=str(sandbox.missing()))

REFUSED = {
    "read a file elsewhere": "open({secret!r}).read()",
    "read it by a link": "os.symlink({secret!r}, 'link'); open('link').read()",
    "read it by its number": "os.open('/proc/self/root' + {secret!r}, os.O_RDONLY)",
    "list a folder elsewhere": "os.listdir({elsewhere!r})",
    "write elsewhere": "open({elsewhere!r} + '/new', 'w')",
    "move a file elsewhere": "open('mine', 'w').close(); os.rename('mine', {elsewhere!r} + '/mine')",
    "remove a file elsewhere": "os.remove({secret!r})",
    "truncate a file elsewhere": "os.truncate({secret!r}, 0)",
    "write into Python's library": "open(os.__file__, 'a')",
    "read the passwords": "open('/etc/shadow').read()",
    "look at the parent": "open(f'/proc/{{os.getppid()}}/environ').read()",
    "open a socket": "__import__('socket').socket()",
    "open a socket of the machine's": "__import__('socket').socket(1)",
    "start a process": "__import__('subprocess').run(['true'])",
    "fork": "os.fork()",
    "kill the parent": "os.kill(os.getppid(), 9)",
    "kill everything": "os.kill(-1, 9)",
    "raise a limit": "__import__('resource').setrlimit(7, (4096, 4096))",
    "write a large file": "open('large', 'wb').seek(2**30) and os.truncate('large', 2**30)",
    "allocate without end": "bytearray(2**35)",
    "allocate shared memory": "__import__('mmap').mmap(-1, 2**35)",
    "allocate nameless files": "os.memfd_create('x')",
}

ALLOWED = {
    "write to its folder": "open('mine', 'w').write('x'); print(open('mine').read())",
    "write to its home": "__import__('pathlib').Path.home().joinpath('x').write_text('x'); print('x')",
    "use a temporary file": "print(__import__('tempfile').TemporaryFile().write(b'x') and 'x')",
    "copy a file with its rights": "open('a', 'w').close(); print(__import__('shutil').copy('a', 'b') and 'x')",
    "import a library that is not loaded": "import colorsys; print('x')",
    "read the lesson's data": "print(__import__('autograder.tinybert.lesson').tinybert.lesson.load_reviews() and 'x')",
    "print a long line": "print(' ' * 5_000_000 + 'x')",
    "start threads": "import threading; t = threading.Thread(target=print, args='x'); t.start(); t.join()",
    "run an asynchronous function": "import asyncio; await asyncio.sleep(0); print('x')",
    "signal itself": "signal = __import__('signal'); signal.signal(10, lambda *_: print('x')); os.kill(os.getpid(), 10)",
}


SETTINGS = {
    "cold": {},
    "set up": {"setup": [["imports", "import os, socket, subprocess, mmap, tempfile"]]},
    "without namespaces": {"namespaces": False},
}


@pytest.fixture(scope="module", params=SETTINGS.values(), ids=SETTINGS)
def shut_in(tmp_path_factory, request):
    """A kernel for all attempts, and the secret that lies next to its folder."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "secret").write_text("42")
    mine = tmp_path_factory.mktemp("mine")
    manager = KernelManager()
    manager.kernel_spec.metadata["kernel_provisioner"] = {"provisioner_name": "warm", "config": request.param}
    manager.start_kernel(env=dict(os.environ), cwd=str(mine))
    assert len(manager.provisioner.shown) == len(request.param.get("setup", []))
    assert manager.provisioner.walls() == ["namespaces", "Landlock", "seccomp"][not request.param.get("namespaces", True):]
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)

    def run(code):
        printed = []
        code = code.format(secret=str(folder / "secret"), elsewhere=str(folder))
        client.execute_interactive(
            "import os\n" + code,
            timeout=60,
            output_hook=lambda m: printed.append(m["content"].get("text") or m["content"].get("ename", "")),
        )
        return "".join(printed).strip()

    yield manager, run, folder
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@needs_sandbox
@pytest.mark.parametrize("attempt", REFUSED)
def test_refused(shut_in, attempt):
    _, run, folder = shut_in
    assert run(REFUSED[attempt]) in ("PermissionError", "FileNotFoundError", "OSError", "MemoryError", "ValueError")
    assert (folder / "secret").read_text() == "42" and len(list(folder.iterdir())) == 1


@needs_sandbox
@pytest.mark.parametrize("way", ALLOWED)
def test_allowed(shut_in, way):
    assert shut_in[1](ALLOWED[way]) == "x"


@needs_sandbox
def test_what_was_refused_is_said(kernel, tmp_path):
    (tmp_path / "secret").write_text("42")
    (tmp_path / "mine").mkdir()
    manager, run = kernel(cwd=tmp_path / "mine")
    run(f"try: open({str(tmp_path / 'secret')!r})\nexcept OSError: pass")
    run("import socket\ntry: socket.socket()\nexcept OSError: pass")
    run("!ls")
    run("with open('large', 'wb', buffering=0) as file: file.seek(2**28 - 1), file.write(b'xx'), file.write(b'x')")
    manager.shutdown_kernel(now=True)
    said = [line.split()[0].strip(":") for line in manager.provisioner.refused()]
    assert said == ["open", "socket", "process", "disk"]


@needs_sandbox
def test_an_ordinary_notebook_is_refused_nothing(kernel):
    manager, run = kernel()
    run("from autograder.tinybert.lesson import *; load_reviews(), load_tinybert(), load_tokenizer()")
    run("import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.savefig('figure.png'); plt.show()")
    run("import torch; torch.save(torch.nn.Linear(3, 3).state_dict(), 'model.pt'); torch.load('model.pt')")
    run("from tqdm.auto import tqdm; list(tqdm(range(3)))")
    run("import logging, tempfile, platform, pandas; tempfile.mkdtemp(); platform.platform()")
    assert manager.provisioner.refused() == []


@needs_sandbox
def test_nothing_of_the_machine_is_seen(shut_in):
    manager, run, folder = shut_in
    if not manager.provisioner.forked.namespaces:
        pytest.skip("Landlock hides no names, no processes and no sockets")
    assert run("print(os.path.exists({elsewhere!r}), os.path.exists('/etc/shadow'))") == "False False"
    assert run(f"print(os.getpid(), os.getppid(), os.path.exists('/proc/{os.getpid()}'))") == "1 0 False"
    assert run("print([line.split()[0] for line in open('/proc/self/net/dev').readlines()[2:]])") == "['lo:']"
    assert run("print(len(open('/proc/self/net/unix').readlines()) < 20)") == "True"
    assert run("try: os.mkdir(os.environ['HOME'] + '/../x')\nexcept OSError as error: print(error.errno)") == "30"


@needs_sandbox
@pytest.mark.parametrize("hold", ["flat = os.statvfs('.')", "import mmap\nheld = []"])
def test_a_private_folder_takes_no_more_than_its_room(kernel, tmp_path, hold):
    (tmp_path / "mine").write_text("here")
    manager, run = kernel(disk=2**24, temporary=True, cwd=tmp_path)
    assert run("print(open('mine').read())") == "here"
    full = """
import mmap, os
held = []
try:
    for k in range(100):
        fd = os.open(f"unseen{k}", os.O_RDWR | os.O_CREAT)
        os.posix_fallocate(fd, 0, 2**22)
        held.append(mmap.mmap(fd, 4096)); os.close(fd); os.unlink(f"unseen{k}")
except OSError as error:
    print(len(held), error.errno)
"""
    assert run(full) == "3 28"
    run("open('mine', 'w').write('gone')")
    assert (tmp_path / "mine").read_text() == "here"


@needs_sandbox
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("while True: open(str(len(os.listdir())), 'wb').write(bytes(2**24))", "disk"),
        ("import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,)).start()", "threads"),
    ],
)
def test_a_kernel_over_its_limits_is_killed(kernel, code, said):
    manager, run = kernel(disk=2**27, threads=64)
    run.send("import os\n" + code)
    assert gone(manager)
    assert any(line.startswith(said) for line in manager.provisioner.refused())


@needs_sandbox
def test_the_quota_is_on_what_is_added_to_a_folder(kernel, tmp_path):
    (tmp_path / "large").write_bytes(bytes(2**22))
    manager, run = kernel(disk=2**20, cwd=tmp_path)
    time.sleep(1)  # the server looks four times a second
    assert run("print(1)") == "1"
    run.send("for name in 'abc': open(name, 'wb').write(bytes(2**19))")
    assert gone(manager)
    assert any(line.startswith("disk") for line in manager.provisioner.refused())


def wait_until(holds):
    for _ in range(50):
        if holds():
            return
        time.sleep(0.1)
    pytest.fail("it does not come to be")


@needs_sandbox
@pytest.mark.parametrize("namespaces", [True, False])
def test_what_a_kernel_leaves_running_ends_with_it(kernel, namespaces):
    daemon = """
import os, time
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.dup2(write, 1)
        os.execvp("sh", ["sh", "-c", "echo there; exec sleep 612.25"])
    os._exit(0)
os.wait()
print(os.read(read, 99).decode().strip())
"""
    manager, run = kernel(processes=True, namespaces=namespaces)
    assert run(daemon) == "there"  # perhaps not for long: what has lost its parent is looked for all the time

    def left():
        return [p for p in psutil.process_iter(["cmdline"]) if "612.25" in " ".join(p.info["cmdline"] or ())]

    manager.shutdown_kernel(now=True)
    wait_until(lambda: not left())


@needs_sandbox
def test_a_kernel_killed_from_outside_is_told_from_one_that_ended_itself(kernel):
    killed, _ = kernel()
    os.kill(killed.provisioner.pid, signal.SIGKILL)
    ended, run = kernel()
    run.send("import ctypes; ctypes.string_at(0)")
    for manager in (killed, ended):
        while manager.is_alive():
            time.sleep(0.05)
    assert killed.provisioner.lost() and not ended.provisioner.lost()


@needs_sandbox
def test_kernels_end_with_their_client_whatever_they_do(kernel):
    manager, run = kernel()
    run("import signal, threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()")
    pid = manager.provisioner.pid
    os.kill(WarmProvisioner.server.process.pid, signal.SIGKILL)
    time.sleep(1)
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


@needs_sandbox
def test_a_set_up_leaves_no_file_open(kernel):
    look = "import os\nopen_files = [os.path.realpath(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')]"
    count = "print(sorted(name.partition(':')[0].rpartition('/')[2] for name in open_files if ':' in name))"
    found = []
    for setup in ([], [["first", "import os; pipe = os.pipe(); [os.close(n) for n in pipe]"]]):
        manager, run = kernel(setup=setup)
        assert len(manager.provisioner.shown) == len(setup)
        run(look)
        found.append(run(count))
    assert found[0] == found[1]


@needs_sandbox
def test_secrets_in_the_environment_stay_outside(kernel, monkeypatch):
    monkeypatch.setenv("COURSE_DATABASE_PASSWORD", "hunter2")
    WarmProvisioner.server = None
    _, run = kernel()
    look = "print([part for n in ('environ',) for part in open(f'/proc/self/{n}').read().split('\\0') if 'hunter2' in part])"
    assert run(look) == "[]"
    assert run("import os; print('hunter2' in str(os.environ))") == "False"


@needs_sandbox
def test_temporary_folders_are_removed(kernel):
    manager, run = kernel()
    scratch = Path(manager.provisioner.scratch)
    run("open(f'{__import__(\"os\").environ[\"HOME\"]}/x', 'w').write('x')")
    assert scratch.exists()
    manager.shutdown_kernel(now=True)
    assert not scratch.exists()


@pytest.mark.parametrize("required", [True, False])
def test_without_a_sandbox(monkeypatch, caplog, required):
    monkeypatch.setattr(sandbox, "missing", lambda: "it needs Linux")
    monkeypatch.setattr(WarmProvisioner, "warned", False)
    manager = KernelManager(config=Config({"WarmProvisioner": {"require_sandbox": required}}))
    manager.kernel_spec.argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    manager.kernel_spec.metadata["kernel_provisioner"] = {"provisioner_name": "warm"}
    if required:
        with pytest.raises(NoSandbox, match="it needs Linux|Python kernels only"):
            manager.start_kernel()
    else:
        manager.start_kernel()
        manager.shutdown_kernel(now=True)
        assert "can read, change and send whatever you can" in caplog.text
