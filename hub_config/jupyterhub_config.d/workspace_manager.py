"""Loaded by the Helm chart's hub, which runs every file of this folder with the config object ``c`` at hand."""

from workspace_managers.hub import configure

configure(c)  # type: ignore[name-defined]  # noqa: F821 - the hub's config object
