# ruff: noqa: INP001 - it is no part of a package
"""JupyterHub on one machine with Docker: a container of the course's image for each student.

    pip install jupyterhub dockerspawner jupyterhub-idle-culler
    npm install --global configurable-http-proxy
    docker network create --internal labs
    export LAB_HUB_IP=$(docker network inspect labs --format '{{(index .IPAM.Config 0).Gateway}}')
    jupyterhub -f hub/dockerspawner/jupyterhub_config.py

Who may log in is yours to say: as this file stands, nobody gets in.
"""

import os
import sys

c = get_config()  # noqa: F821 - JupyterHub gives it

c.JupyterHub.spawner_class = "dockerspawner.DockerSpawner"
c.DockerSpawner.image = os.environ.get("LAB_IMAGE", "localhost/iot-labs-class")
c.DockerSpawner.pull_policy = "never"  # it is built here; see hub/image
c.DockerSpawner.cmd = ["jupyterhub-singleuser"]
c.DockerSpawner.remove = True
# The network has no way out, and students reach the hub in it, and nothing else of yours.
c.DockerSpawner.network_name = os.environ.get("LAB_NETWORK", "labs")
c.DockerSpawner.use_internal_ip = True
c.DockerSpawner.name_template = "lab-{username}"

# A student's work outlives the container: keys, certificates and progress, and the notebooks. A new volume begins with
# what the image has at its place.
c.DockerSpawner.notebook_dir = "/course/notebooks"
c.DockerSpawner.volumes = {
    "lab-{username}-workspace": "/workspace",
    "lab-{username}-notebooks": "/course/notebooks",
}
c.DockerSpawner.default_url = "/lab/tree/00_start-here.ipynb"

# 92 MB for JupyterLab, 77 MB a kernel and 10 MB a broker were measured; two notebooks and a browser tab too many fit in.
c.DockerSpawner.mem_limit = "1G"
c.DockerSpawner.cpu_limit = 1.0

# A student's container is an attacker's by intention: the course asks for attacks, if only on what is one's own.
c.DockerSpawner.extra_host_config = {
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "pids_limit": 512,
    "read_only": True,
    "tmpfs": {"/tmp": "size=256m", "/home/lab": "size=64m,mode=1777"},  # noqa: S108 - of the container
}

# For a class: your school's authenticator, or NativeAuthenticator; never "dummy" with a password that everybody knows,
# where more than you can reach the hub.
c.JupyterHub.authenticator_class = os.environ.get("LAB_AUTHENTICATOR", "null")
c.Authenticator.allowed_users = set(filter(None, os.environ.get("LAB_USERS", "").split(",")))
c.Authenticator.admin_users = set(filter(None, os.environ.get("LAB_ADMINS", "").split(",")))

# On loopback: put a web server with TLS in front. Containers talk to the hub at their network's gateway.
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.JupyterHub.hub_ip = os.environ.get("LAB_HUB_IP", "127.0.0.1")

# Who has gone home gives the memory back; brokers end with their kernels.
c.JupyterHub.services = [
    {"name": "idle-culler", "command": [sys.executable, "-m", "jupyterhub_idle_culler", "--timeout=3600"]}
]
c.JupyterHub.load_roles = [
    {
        "name": "idle-culler",
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
        "services": ["idle-culler"],
    }
]
