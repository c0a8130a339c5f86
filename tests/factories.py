"""Facts for tests: a workspace, a volume and a pod that are right, to be changed where a test looks."""

from __future__ import annotations

from datetime import date
from typing import Any

from workspace_managers import HOME, SHARED_CLAIM, User, Volume, Workspace, WorkspaceManager, engine, personal_claim

TODAY = date(2026, 6, 15)
ALICE = User.identify("alice")


def workspace(name: str = "cardio", **changes: Any) -> Workspace:
    facts: dict[str, Any] = {
        "display_name": "Cardio outcomes",
        "description": "Outcomes after surgery",
        "first_day": date(2026, 1, 1),
        "last_day": date(2026, 12, 31),
        "grant_last_day": date(2026, 12, 31),
        "image": "example/notebook:1.0",
    }
    return Workspace(name=name, **{**facts, **changes})


def volume(claim: str = "jupyter-cardio", mount_path: str = f"{HOME}/cardio", **changes: Any) -> Volume:
    return Volume(claim=claim, mount_path=mount_path, **changes)


def shared(**changes: Any) -> Volume:
    facts: dict[str, Any] = {
        "claim": SHARED_CLAIM,
        "mount_path": f"{HOME}/shared",
        "read_only": True,
        "shared": True,
    }
    return Volume(**{**facts, **changes})


def home(username: str = "alice", workspace: str = "cardio", **changes: Any) -> Volume:
    """The home folder of a person in a workspace."""
    return Volume(**{"claim": personal_claim(username, workspace), "mount_path": HOME, "personal": True, **changes})


def pod(**spec: Any) -> dict[str, Any]:
    """A pod as KubeSpawner makes it, with the chart's personal storage on."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "jupyter-alice",
            "labels": {"app": "jupyterhub", "component": "singleuser-server"},
            "annotations": {"hub.jupyter.org/username": "alice"},
        },
        "spec": {
            "containers": [
                {
                    "name": "notebook",
                    "image": "example/notebook:1.0",
                    "volumeMounts": [
                        {"name": "volume-alice", "mountPath": "/home/jovyan"},
                        {"name": "settings", "mountPath": "/etc/jupyter"},
                    ],
                    "resources": {"limits": {"cpu": 2}},
                }
            ],
            "volumes": [
                {"name": "volume-alice", "persistentVolumeClaim": {"claimName": "claim-alice"}},
                {"name": "settings", "configMap": {"name": "settings"}},
            ],
            **spec,
        },
    }


async def start(
    manager: WorkspaceManager, user: User, name: object, hubs: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The pod of a start, from the pod that the hub would create."""

    async def make_pod(_grant: Workspace) -> dict[str, Any]:
        return pod() if hubs is None else hubs

    provision = await manager.provision(user, name, make_pod)
    await engine.provisioned(manager, user, provision)
    return dict(provision.pod)
