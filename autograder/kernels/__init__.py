"""Kernels that start warm: `server` has imported the lesson's libraries and forks, `provisioner`
plugs it into jupyter_client."""
