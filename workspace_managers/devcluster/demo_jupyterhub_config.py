"""The demo's hub: what is the demo's own, then the one file that every hub of this product loads.

Always true of this file: nothing in here is about workspaces. It stands where the Helm chart's jupyterhub_config.py
stands in a cluster, and like it ends by running `hub_config/jupyterhub_config.d/workspace_manager.py` in its own scope.
Read by JupyterHub 4 to 6; `Demo` (demo.py) starts it and passes what it needs as JSON in WORKSPACE_DEMO.
"""

import json
import os
from pathlib import Path

import jupyterhub

c = get_config()  # type: ignore[name-defined]  # noqa: F821 (traitlets puts it in the scope of a config file)
demo = json.loads(os.environ["WORKSPACE_DEMO"])
hub_folder = Path(demo["hub_folder"])

# Loopback only, because signing in needs no password; but where a cluster's pods must reach the hub, it has one.
c.JupyterHub.bind_url = f"http://127.0.0.1:{demo['port']}"
c.JupyterHub.hub_ip = demo["hub_host"]
c.JupyterHub.hub_connect_ip = demo["hub_host"]
c.JupyterHub.hub_port = demo["hub_port"]
c.ConfigurableHTTPProxy.should_start = True
c.ConfigurableHTTPProxy.command = demo["proxy_command"]
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{demo['proxy_api_port']}"
c.ConfigurableHTTPProxy.pid_file = str(hub_folder / "proxy.pid")

# A database of one hub version cannot be read by an older one.
c.JupyterHub.db_url = f"sqlite:///{hub_folder / f'hub-{jupyterhub.version_info[0]}.sqlite'}"
c.JupyterHub.cookie_secret_file = str(hub_folder / "cookie_secret")
c.JupyterHub.cleanup_servers = True
c.JupyterHub.cleanup_proxy = True

c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allowed_users = set(demo["users"])
c.DummyAuthenticator.password = demo["password"]

# For the tests, which use the hub's REST API.
c.JupyterHub.services = [{"name": "demo", "api_token": demo["api_token"]}]
c.JupyterHub.load_roles = [
    {
        "name": "demo",
        "services": ["demo"],
        "scopes": [
            *("admin:users", "admin:servers", "access:servers", "list:users", "tokens", "read:hub", "proxy"),
            "read:metrics",
        ],
    }
]

# As the Helm chart: so many failed starts in a row stop the hub.
c.Spawner.consecutive_failure_limit = 5
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.KubeSpawner.namespace = demo["namespace"]
c.KubeSpawner.scheduler_name = demo["scheduler"]
c.KubeSpawner.events_enabled = True
c.KubeSpawner.default_url = "/lab"
c.KubeSpawner.http_timeout = 60
# As the Helm chart: a new volume is root's, and the servers are not.
c.KubeSpawner.fs_gid = 100

# As the Helm chart does with each file of its jupyterhub_config.d.
for path in demo["config_files"]:
    exec(compile(source=Path(path).read_text(), filename=Path(path).name, mode="exec"))  # noqa: S102 (it is the chart's way)
