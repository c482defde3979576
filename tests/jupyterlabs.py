"""A JupyterLab of its own, for a browser to open."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

from classes import environment
from conftest import ROOT

TOKEN = "?token=lesson"  # behind the first address that a browser opens
NO_NEWS = {"fetchNews": "false", "checkForUpdates": False}  # JupyterLab asks nobody


@contextmanager
def jupyterlab(folder):
    """Serve a folder from a JupyterLab that knows nothing of this machine's settings; yield its address."""
    own = {f"JUPYTER{name}_DIR": name.lower() for name in ("_CONFIG", "_DATA", "LAB_WORKSPACES")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": "settings", "IPYTHONDIR": "ipython"}
    own = {name: str(folder / ".jupyterlab" / place) for name, place in own.items()}
    settings = folder / ".jupyterlab/settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(NO_NEWS))
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{listener.getsockname()[1]}"
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={host.split(':')[1]}",
        "--ServerApp.port_retries=0", "--IdentityProvider.token=lesson", "--LabApp.expose_app_in_browser=True",
    ]  # fmt: skip
    log_file = folder / ".jupyterlab" / "server.log"
    with open(log_file, "w") as log:
        server = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log,
            env={**environment(), **own, "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
    try:
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://{host}/api", timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < until, log_file.read_text()
                time.sleep(0.5)
        yield f"http://{host}"
    finally:
        server.terminate()
        server.wait(60)
