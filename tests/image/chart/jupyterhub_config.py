"""A stand-in for the hub's config that the chart mounts into its pod: what of it can come between us and a hub.

Always true of it, as of the chart's since 2.0: values come first, then `hub.config`, then each file of
jupyterhub_config.d by its name, then `hub.extraConfig`. Unlike the chart's, it can do without a network of its own, and
so without names for services: at the address `ONLY_HOST`, on the services' ports.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from z2jh import get_config as values  # type: ignore[import-not-found]  # it is mounted beside this file

c = get_config()  # type: ignore[name-defined]  # noqa: F821 - traitlets puts it in the scope of a config file

only_host = os.environ.get("ONLY_HOST")
hub_url = f"http://{only_host or 'hub'}:{os.environ['HUB_SERVICE_PORT']}"
c.JupyterHub.hub_bind_url = hub_url if only_host else "http://:8081"
c.JupyterHub.hub_connect_url = hub_url
c.ConfigurableHTTPProxy.api_url = f"http://{only_host or 'proxy-api'}:{os.environ['PROXY_API_SERVICE_PORT']}"
c.ConfigurableHTTPProxy.should_start = False
c.JupyterHub.cleanup_servers = False
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
if values("hub.db.type") == "sqlite-pvc":
    c.JupyterHub.db_url = "sqlite:///jupyterhub.sqlite"
c.KubeSpawner.namespace = os.environ.get("POD_NAMESPACE", "default")
c.KubeSpawner.common_labels = {
    "app": "jupyterhub",
    "heritage": "jupyterhub",
    "release": os.environ["HELM_RELEASE_NAME"],
}

for component, trait, path in (
    (c.JupyterHub, "load_roles", "hub.loadRoles"),
    (c.JupyterHub, "template_paths", "hub.templatePaths"),
    (c.Spawner, "consecutive_failure_limit", "hub.consecutiveFailureLimit"),
    (c.Spawner, "cmd", "singleuser.cmd"),
    (c.Spawner, "default_url", "singleuser.defaultUrl"),
    (c.KubeSpawner, "allow_privilege_escalation", "singleuser.allowPrivilegeEscalation"),
    (c.KubeSpawner, "events_enabled", "singleuser.events"),
    (c.KubeSpawner, "extra_labels", "singleuser.extraLabels"),
    (c.KubeSpawner, "fs_gid", "singleuser.fsGid"),
    (c.KubeSpawner, "image", "singleuser.image.name"),
    (c.KubeSpawner, "mem_guarantee", "singleuser.memory.guarantee"),
    (c.KubeSpawner, "profile_list", "singleuser.profileList"),
    (c.KubeSpawner, "start_timeout", "singleuser.startTimeout"),
    (c.KubeSpawner, "tolerations", "scheduling.userPods.tolerations"),
    (c.KubeSpawner, "uid", "singleuser.uid"),
):
    found = values(path)
    if found is not None:
        setattr(component, trait, list(found.values()) if path == "hub.loadRoles" else found)

if values("scheduling.userScheduler.enabled"):
    c.KubeSpawner.scheduler_name = "user-scheduler"
if values("scheduling.userPods.nodeAffinity.matchNodePurpose") == "prefer":
    of_users = {"key": "hub.jupyter.org/node-purpose", "operator": "In", "values": ["user"]}
    c.KubeSpawner.node_affinity_preferred = [{"weight": 100, "preference": {"matchExpressions": [of_users]}}]

if values("singleuser.storage.type") == "dynamic":
    c.KubeSpawner.storage_pvc_ensure = True
    claim = c.KubeSpawner.pvc_name_template = values("singleuser.storage.dynamic.pvcNameTemplate")
    volume = values("singleuser.storage.dynamic.volumeNameTemplate")
    c.KubeSpawner.volumes = [{"name": volume, "persistentVolumeClaim": {"claimName": claim}}]
    c.KubeSpawner.volume_mounts = [{"name": volume, "mountPath": values("singleuser.storage.homeMountPath")}]

c.JupyterHub.services = [
    {"name": name, "api_token": service["apiToken"]} for name, service in values("hub.services", {}).items()
]
# On by default in the chart: an init container keeps user pods from the cloud's metadata.
if values("singleuser.cloudMetadata.blockWithIptables"):
    to_metadata = ["--destination", values("singleuser.cloudMetadata.ip"), "--destination-port", "80"]
    c.KubeSpawner.init_containers = [
        {
            "name": "block-cloud-metadata",
            "image": values("singleuser.networkTools.image.name"),
            "command": ["iptables", "--append", "OUTPUT", "--protocol", "tcp", *to_metadata, "--jump", "DROP"],
            "securityContext": {"privileged": True, "runAsUser": 0, "capabilities": {"add": ["NET_ADMIN"]}},
        }
    ]

c.JupyterHub.cookie_secret = bytes.fromhex(values("hub.config.JupyterHub.cookie_secret"))
c.CryptKeeper.keys = [values("hub.config.CryptKeeper.keys")]
for name, traits in values("hub.config", {}).items():
    if name != "CryptKeeper":
        c[name].update({trait: value for trait, value in traits.items() if trait != "cookie_secret"})

for file in sorted(Path("/usr/local/etc/jupyterhub/jupyterhub_config.d").glob("*.py")):
    exec(compile(file.read_text(), file.name, "exec"))  # noqa: S102 - the chart's way

for _, code in sorted(values("hub.extraConfig", {}).items()):
    exec(code)  # noqa: S102 - the chart's way
