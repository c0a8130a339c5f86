"""The contract of ``postgresql``: how its tables are changed, so that every rule can be tried on a real server.

Always true here: the tables are written as an administrator writes them, over a connection of another role than the
plugin's, which may only read.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import asyncpg

from workspace_managers.contract import WorkspaceManagerContract, World

from . import VARIABLE, PostgresqlManager
from .server import server

SCHEMA = Path(__file__).with_name("schema.sql")
READER = "reader"
PASSWORD = secrets.token_hex(16)


class PostgresqlWorld(World):
    """New tables for each clause; an outage ends the plugin's connections and refuses new ones."""

    async def start(self) -> None:
        """Tables without a row, and the role that the plugin has."""
        await super().start()
        folder = server()
        password = (folder / "password").read_text()
        self.admin = await asyncpg.connect(f"postgresql://admin:{password}@/postgres?host={folder}")
        await self.admin.execute("DROP TABLE IF EXISTS grants, workspaces")
        await self.admin.execute(SCHEMA.read_text())
        if not await self.admin.fetch("SELECT FROM pg_roles WHERE rolname = $1", READER):
            await self.admin.execute(f"CREATE ROLE {READER} PASSWORD '{PASSWORD}'")
        await self.admin.execute(f"ALTER ROLE {READER} LOGIN; GRANT SELECT ON grants, workspaces TO {READER}")
        os.environ[VARIABLE] = f"postgresql://{READER}:{PASSWORD}@/postgres?host={folder}"

    async def stop(self) -> None:
        """The server goes on for the next clause."""
        del os.environ[VARIABLE]
        await self.admin.close()
        await super().stop()

    async def put_workspace(
        self,
        name: str,
        *,
        first_day: date,
        last_day: date,
        display_name: str,
        description: str,
        image: str,
        node_selector: Mapping[str, str],
    ) -> None:
        """Write a row; there is no column for a node selector."""
        await self.admin.execute(
            "INSERT INTO workspaces (name, display_name, description, image, first_day, last_day) "
            "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO UPDATE SET display_name = $2, description = $3, "
            "image = $4, first_day = $5, last_day = $6",
            *(name, display_name, description, image, first_day, last_day),
        )

    async def grant(self, username: str, workspace: str, last_day: date) -> None:
        """Write a row."""
        await self.admin.execute("INSERT INTO grants VALUES ($1, $2, $3)", username, workspace, last_day)

    async def revoke(self, username: str, workspace: str) -> None:
        """Delete the rows."""
        await self.admin.execute("DELETE FROM grants WHERE username = $1 AND workspace = $2", username, workspace)

    async def delete_workspace(self, name: str) -> None:
        """Delete the row, and by its foreign key the grants."""
        await self.admin.execute("DELETE FROM workspaces WHERE name = $1", name)

    async def break_workspace(self, name: str) -> None:
        """Leave the image empty, which the column lets anybody."""
        await self.admin.execute("UPDATE workspaces SET image = '' WHERE name = $1", name)

    async def outage(self) -> None:
        """Lock the plugin's role out."""
        await self.admin.execute(f"ALTER ROLE {READER} NOLOGIN")
        await self.admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", READER)

    async def recover(self) -> None:
        """Let it in again."""
        await self.admin.execute(f"ALTER ROLE {READER} LOGIN")


class PostgresqlContract(WorkspaceManagerContract):
    """Every clause holds but those that the tables rule out."""

    manager_class = PostgresqlManager
    world = PostgresqlWorld
    unsupported = {  # noqa: RUF012 - read only
        "test_grant_without_its_workspace_opens_nothing": "a foreign key keeps such a grant out of the table",
    }
