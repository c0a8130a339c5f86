"""The workspace manager ``postgresql``: workspaces and grants from the two tables of ``schema.sql``.

Each question is one query, so a grant that was taken away a moment ago opens nothing; the username is a parameter of
it and never a part of its text; and whatever keeps the database from answering is an outage. What a row says of a
workspace is checked by the framework. The address has a password in it, so it is never told.
"""

from __future__ import annotations

import asyncio
import contextlib
import os

import asyncpg

from workspace_managers import (
    HOME,
    SHARED_CLAIM,
    SHARED_NAME,
    BackendUnavailable,
    ConfigurationError,
    Context,
    User,
    Volume,
    Workspace,
    WorkspaceManager,
    default_claim,
    quote,
)

VARIABLE = "POSTGRESQL_DSN"
CONNECTIONS = 10
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
CLOSE_SECONDS = 5.0

# The database's lower case is not Python's for every letter. This finds everybody whose names are the same in lower
# case, and more; the plugin compares again, exactly.
_FOLDED = 'upper(lower({} COLLATE "und-x-icu"))'
_QUERY = f"""
SELECT username, name, display_name, description, image, first_day, workspaces.last_day,
       grants.last_day AS grant_last_day
FROM grants JOIN workspaces ON name = workspace
WHERE {_FOLDED.format("username")} = {_FOLDED.format("$1::text")}
"""  # noqa: S608 - made of constants


class PostgresqlManager(WorkspaceManager):
    """Asks the database; a pool keeps a few connections for everybody."""

    interface_versions = (1, 1)

    def __init__(self, context: Context) -> None:
        """Called while the hub's config loads: no connection is made."""
        super().__init__(context)
        self._dsn = os.environ.get(VARIABLE, "")
        if not self._dsn:
            raise ConfigurationError(f"{VARIABLE} is not set; give it the database's address, postgresql://...")
        self._pool: asyncpg.Pool | None = None

    async def start(self) -> None:
        """Make the pool, which connects at the first question."""
        self._pool = await asyncpg.create_pool(
            self._dsn,
            min_size=0,
            max_size=CONNECTIONS,
            timeout=CONNECT_SECONDS,
            command_timeout=ANSWER_SECONDS,
            server_settings={"default_transaction_read_only": "on"},
        )

    async def close(self) -> None:
        """End every connection; a query that takes too long is cut off."""
        if self._pool is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._pool.close()

    async def list_workspaces(self, user: User) -> list[Workspace]:
        """The rows of this user; a name with a NUL is in no table, because PostgreSQL takes none."""
        rows = [] if "\0" in user.username else await self._rows(user.username)
        return [
            Workspace(**{key: value for key, value in row.items() if key != "username"})
            for row in rows
            if row["username"].lower() == user.username
        ]

    async def volumes_for(self, user: User, workspace: Workspace) -> list[Volume]:
        """The workspace's own claim, and the one that everybody reads."""
        return [
            Volume(claim=default_claim(workspace.name), mount_path=f"{HOME}/{workspace.name}"),
            Volume(claim=SHARED_CLAIM, mount_path=f"{HOME}/{SHARED_NAME}", read_only=True, shared=True),
        ]

    async def _rows(self, username: str) -> list[asyncpg.Record]:
        if self._pool is None:
            raise BackendUnavailable("the plugin is not started")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):  # with the wait for a free connection
                rows: list[asyncpg.Record] = await self._pool.fetch(_QUERY, username)
                return rows
        except ValueError as error:
            # The text may quote a part of the address, and with it of the password.
            raise BackendUnavailable(f"PostgreSQL cannot be asked by {VARIABLE}: {type(error).__name__}") from None
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise BackendUnavailable(f"PostgreSQL: {type(error).__name__}: {quote(str(error))}") from error
