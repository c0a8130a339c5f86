"""The command ``workspace-managers``: what is installed, and whether the hub would start with it.

Always true here: a problem is a line of text and exit code 1, never a traceback; with ``--json`` standard output is one
JSON document and nothing else, whatever a plugin prints; ``check`` makes no API call.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import importlib.metadata
import json
import sys
import textwrap
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, TypeVar

import attrs

from . import registry
from .access import parse_day
from .capabilities import IDENTITY_CLAIMS
from .context import Context
from .engine import NOBODY, Lifecycle, all_workspaces, beyond_policy
from .errors import ConfigurationError, WorkspaceManagerError, quote
from .explain import explain
from .inventory import accept, inventory
from .kube.client import Kube
from .kube.fitness import fitness
from .kube.guard import Guard, guard
from .manager import WorkspaceManager
from .models import User
from .settings import MANAGER, VARIABLES, Settings, chosen_manager
from .tasks import in_time, in_words

T = TypeVar("T")
DISTRIBUTION = "jupyterhub-workspace-managers"
ANSWER_SECONDS = 30.0
NO_ANSWER = 2
INTERRUPTED = 130
_DEMO = "workspace_managers.devcluster.demo"
_CONTRACT = "workspace_managers.contract.collection"
_STARTER = "workspace_managers.contract.starter"

_EXAMPLES = """\
examples:
  workspace-managers list                              what is installed; * marks the one in use
  WORKSPACE_MANAGER=lscsde workspace-managers check    would the hub start? exit code 0: yes, 1: no
  workspace-managers check --json                      the same for a script
  workspace-managers doctor                            ask the plugin itself, on the cluster, what is wrong
  workspace-managers explain bob heart                 why bob may open heart, or may not; 0: yes, 1: no, 2: not certain
  workspace-managers explain heart                     who may open heart, or why nobody may
  workspace-managers claims                            each claim, whose it is, what a start would do with it
  workspace-managers claims --unused                   home folders that are kept for people without access
  workspace-managers claims --accept old-data heart    give a claim without an owner to a workspace
  workspace-managers new our-studies                   a folder with a plugin of your own to begin with
  workspace-managers demo --port 9000                  a whole hub on this machine, no cluster needed
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Those after the command's name; None for the process's own.

    Returns:
        The exit code: 0 for well, 1 for problems, 2 for a wrong command line or where ``explain`` or ``doctor`` had no
        certain answer, 130 after Ctrl-C.
    """
    parsed = _parser().parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
        return code
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted.\n")
        return INTERRUPTED
    except WorkspaceManagerError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="workspace-managers",
        description="Workspace managers for JupyterHub: see what is installed, check that the hub would start, try it.",
        epilog=f"{_EXAMPLES}\n{_environment()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Any, text: str, *, as_json: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        added.set_defaults(run=run)
        if as_json:
            added.add_argument("--json", action="store_true", help="print one JSON document")
        return added

    command("list", _list, "list the workspace managers that are installed, without importing any")
    command(
        "check",
        _check,
        "load the settings and the workspace manager as the hub would, and report every problem; no API call",
    )
    doctor = command("doctor", _doctor, "as check, then ask the workspace manager what problems it finds")
    doctor.add_argument(
        "--timeout",
        type=_positive,
        default=ANSWER_SECONDS,
        metavar="SECONDS",
        help="how long it may take (%(default)g)",
    )
    explain = command(
        "explain", _explain, "tell why a person or anybody may open a workspace, or may not; nothing is changed"
    )
    explain.add_argument(
        "user", metavar="USER", nargs="?", help="as the hub knows them; without, who may open it at all"
    )
    explain.add_argument("workspace", metavar="WORKSPACE", help="the workspace's name")
    explain.add_argument("--at", type=_day, metavar="DAY", help="such as 2027-01-31; today")
    explain.add_argument("--claims", type=Path, metavar="FILE", help="JSON of what the identity provider says of them")
    claims = command("claims", _claims, "list the claims, whose they are, and what a start would do with each")
    claims.add_argument(
        "--accept", nargs=2, metavar=("CLAIM", "WORKSPACE"), help="give a claim to a workspace, after asking back"
    )
    claims.add_argument("--yes", action="store_true", help="with --accept, without asking back")
    claims.add_argument("--unused", action="store_true", help="home folders alone, of people who may not open them")
    contract = command("contract", _contract, "run the contract on an installed workspace manager", as_json=False)
    contract.add_argument("name", nargs="?", metavar="NAME", help="the workspace manager; all that are installed")
    contract.add_argument("--kubeconfig", type=Path, metavar="FILE", help="a cluster to run it on; none is needed")
    new = command("new", _new, "write the folder of a new workspace manager, which passes the contract", as_json=False)
    new.add_argument("name", metavar="NAME", help="what WORKSPACE_MANAGER will be; the folder is made here")
    demo = command(
        "demo", _demo, "start a hub with sample workspaces on this machine, with no cluster or your own", as_json=False
    )
    demo.add_argument("--port", type=int, default=8000, help="port on 127.0.0.1 (%(default)s)")
    demo.add_argument(
        "--state", type=Path, default=Path(".demo"), metavar="FOLDER", help="where its files are kept (%(default)s)"
    )
    demo.add_argument("--kubeconfig", type=Path, metavar="FILE", help="a cluster of your own; none is needed")
    demo.add_argument("--namespace", default="", metavar="NAME", help="one on that cluster for the demo alone")
    demo.add_argument("--node", choices=("local", "cluster"), default="", help="who runs the servers there (cluster)")
    demo.add_argument(
        "--hub-host", default="", metavar="ADDRESS", help="where the cluster's pods reach the hub on this machine"
    )
    return parser


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError(text)
    return seconds


_positive.__name__ = "number of seconds"  # argparse's errors show it


def _environment() -> str:
    width = max(len(variable.name) for variable in VARIABLES)
    lines = ["environment:"]
    for variable in VARIABLES:
        words = f"{variable.purpose} Default: {variable.default}"
        lines += textwrap.wrap(
            words,
            100,
            initial_indent=f"  {variable.name:{width}}  ",
            subsequent_indent=" " * (width + 4),
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def _version() -> str:
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "(a checkout that is not installed)"


def _list(parsed: argparse.Namespace) -> int:
    found = registry.installed()
    try:
        chosen, note = chosen_manager(), None
        if chosen not in {registration.name.casefold() for registration in found}:
            note = f"{MANAGER.name} names {quote(chosen)}, which is not installed: the hub would not start."
    except ConfigurationError as error:
        chosen, note = "", str(error)
    rows = [
        {
            "name": registration.name,
            "distribution": registration.distribution,
            "version": registration.version,
            "object": registration.object,
            "chosen": registration.name.casefold() == chosen,
        }
        for registration in found
    ]
    if sum(row["chosen"] is True for row in rows) > 1:
        note = f"{MANAGER.name} names {quote(chosen)}, which is registered more than once: the hub would not start."
    if parsed.json:
        _print_json(rows)
    elif rows:
        head = ("", "NAME", "DISTRIBUTION", "VERSION", "OBJECT")
        body = [
            ("*" if row["chosen"] else "", *(str(row[key]) for key in ("name", "distribution", "version", "object")))
            for row in rows
        ]
        _print_lines(_table([head, *body]))
    else:
        _print_lines(["No workspace manager is installed."])
    if note:
        sys.stderr.write(f"{note}\n")
    return 0


def _check(parsed: argparse.Namespace) -> int:
    with contextlib.redirect_stdout(sys.stderr):
        settings, manager, problems = _loaded()
    return _report(parsed, settings, manager, problems)


def _doctor(parsed: argparse.Namespace) -> int:
    with contextlib.redirect_stdout(sys.stderr):
        settings, manager, problems = _loaded()
        notes: list[str] = []
        unanswered: list[str] = []
        if manager is not None:
            problems += asyncio.run(_asked(manager, parsed.timeout, notes, unanswered))
    return _report(parsed, settings, manager, problems, notes=notes, unanswered=unanswered)


def _explain(parsed: argparse.Namespace) -> int:
    identity_claims = _identity_claims(parsed.claims) if parsed.claims else None
    with contextlib.redirect_stdout(sys.stderr):
        settings, manager, problems = _loaded(parsed.at)
    if settings is None or manager is None or problems:
        return _report(parsed, settings, manager, problems)
    user = None
    if parsed.user is not None:
        user = User.identify(parsed.user, identity_claims, scoped=settings.scoped_names)
    with contextlib.redirect_stdout(sys.stderr):
        try:
            found = asyncio.run(_started(manager, explain(manager, user, parsed.workspace)))
        except WorkspaceManagerError as error:
            sys.stderr.write(f"{error}\n")
            return NO_ANSWER
    day = manager.context.today()
    if parsed.json:
        asked = {"user": parsed.user, "workspace": parsed.workspace, "day": str(day)}
        _print_json({**asked, "opens": found.opens, "findings": [attrs.asdict(each) for each in found.findings]})
    else:
        said = {True: "opens", False: "does not open", None: "may or may not open: it is not certain that it does"}
        whom = "those named below" if parsed.user is None and found.opens else quote(parsed.user or "anybody")
        _print_lines([f"On {day}, workspace {quote(parsed.workspace)} {said[found.opens]} for {whom}."])
        for each in found.findings:
            mark = {True: "yes", False: "no", None: "-"}[each.holds]
            wanted = f"; right would be {each.change}" if each.change and each.holds is False else ""
            _print_lines([f"  {each.rule}  {mark:3}  {each.what}: {each.found}{wanted}"])
    return {True: 0, False: 1, None: NO_ANSWER}[found.opens]


def _day(text: str) -> date:
    return parse_day(text)


_day.__name__ = "day"  # argparse's errors show it


def _identity_claims(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{quote(str(file))} cannot be read: {in_words(error)}") from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{quote(str(file))} is no JSON object of identity claims")
    return found


def _claims(parsed: argparse.Namespace) -> int:
    with contextlib.redirect_stdout(sys.stderr):
        settings, manager, problems = _loaded()
    if manager is None or problems:
        return _report(parsed, settings, manager, problems)
    with contextlib.redirect_stdout(sys.stderr):
        if parsed.accept:
            return asyncio.run(_started(manager, _accepted(manager, *parsed.accept, sure=parsed.yes)))
        found = asyncio.run(_started(manager, inventory(manager)))
    if parsed.unused:
        found = [each for each in found if each.opens is False]
    if parsed.json:
        _print_json([attrs.asdict(each) for each in found])
    elif found:
        head = ("NAMESPACE", "CLAIM", "WORKSPACE", "PERSON", "LAST STARTED", "MOUNTED BY", "OUTLOOK")
        body = [
            [
                *map(_shown, (each.namespace, each.claim, each.workspace, each.person, each.last_started)),
                _shown(", ".join(each.mounted_by)),
                each.outlook,
            ]
            for each in found
        ]
        _print_lines(_table([head, *body]))
    else:
        none = "No claim belongs to a person who may not open it." if parsed.unused else "There is no claim."
        _print_lines([none])
    return 0


async def _accepted(manager: WorkspaceManager, claim: str, workspace: str, *, sure: bool) -> int:
    found = await accept(manager, claim, workspace)
    sys.stderr.write(f"Claim {quote(claim)} {found.found}.\n")
    if not sure:
        sys.stderr.write(
            f"Whoever may open workspace {quote(workspace)} will read and change its files. Give it? [y/N] "
        )
        sys.stderr.flush()
        if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
            sys.stderr.write("Nothing was changed.\n")
            return 1
    await found.write(manager.context.kube)
    sys.stderr.write(f"Claim {quote(claim)} belongs to workspace {quote(workspace)} now.\n")
    return 0


def _shown(text: str | None) -> str:
    """An annotation, which anybody may have written who may write claims."""
    if not text:
        return "-"
    return text if text.isprintable() else quote(text)


async def _started(manager: WorkspaceManager, question: Coroutine[Any, Any, T]) -> T:
    """The answer to a question that a plugin is asked once it has started; it is closed after it."""
    lifecycle = Lifecycle(manager)
    try:
        await lifecycle.begin()
        return await question
    finally:
        question.close()
        await lifecycle.close()
        await manager.context.kube.close()


def _demo(parsed: argparse.Namespace) -> int:
    options = {name: value for name, value in vars(parsed).items() if name != "run"}
    return _of_an_extra("demo", lambda: importlib.import_module(_DEMO).main(**options))


def _contract(parsed: argparse.Namespace) -> int:
    return _of_an_extra("contract", lambda: importlib.import_module(_CONTRACT).run(parsed.name, parsed.kubeconfig))


def _new(parsed: argparse.Namespace) -> int:
    return _of_an_extra("contract", lambda: importlib.import_module(_STARTER).run(parsed.name))


def _of_an_extra(extra: str, run: Callable[[], int | None]) -> int:
    try:
        code = run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "workspace_managers":
            raise
        sys.stderr.write(
            f"The {extra} needs the package {error.name}, which is not installed: "
            f"run pip install '{DISTRIBUTION}[{extra}]' and start it again.\n"
        )
        return 1
    return int(code or 0)


def _loaded(day: date | None = None) -> tuple[Settings | None, WorkspaceManager | None, list[str]]:
    """Everything that the hub does before it starts; one bad part does not hide the problems of the others.

    Args:
        day: On which it is asked; None for now.
    """
    problems: list[str] = []
    settings = manager = None
    try:
        settings = Settings.from_environ()
    except ConfigurationError as error:
        problems += error.problems
    try:
        if settings is None:
            registry.load(chosen_manager())
        else:
            # Here, because it brings in all of JupyterHub, which `list` and `--help` have no need of.
            from .hub import context_for  # noqa: PLC0415

            context = context_for(settings)
            if day is not None:
                noon = datetime.combine(day, time(12), settings.timezone)
                context = replace(context, clock=lambda: noon)
            manager = registry.create(settings.workspace_manager, context)
    except ConfigurationError as error:
        problems += (problem for problem in error.problems if problem not in problems)
    return settings, manager, problems


async def _asked(manager: WorkspaceManager, seconds: float, notes: list[str], unanswered: list[str]) -> list[str]:
    """The problems of plugin, policy and cluster.

    Args:
        manager: Is started and closed.
        seconds: How long each question may take.
        notes: Gets what is no problem.
        unanswered: Gets the questions that had no answer, and why.
    """
    found: list[str] = []
    try:
        done, _ = await _answered(unanswered, "start", manager.start(), seconds)
        if done:
            done, answer = await _answered(unanswered, "problems", manager.problems(), seconds)
            found += _sentences(answer) if done else ()
            done, beyond = await _answered(unanswered, "all_workspaces", _beyond(manager), seconds)
            found += beyond if done else ()
            await _fit(manager.context, seconds, found, notes)
            notes.append(await _guarded(manager.context.kube, seconds))
            notes += _of_identity_claims(manager)
    finally:
        await _answered(unanswered, "close", manager.close(), manager.context.timeouts.close)
        await manager.context.kube.close()
    return found


async def _beyond(manager: WorkspaceManager) -> list[str]:
    found = await beyond_policy(manager, NOBODY, await all_workspaces(manager) or ())
    return [f"workspace {quote(name)}: {reason}" for name, reason in sorted(found.items())]


def _of_identity_claims(manager: WorkspaceManager) -> list[str]:
    if IDENTITY_CLAIMS not in manager.capabilities:
        return []
    hours = manager.context.settings.claims_hours
    age = f"for {hours} hours after they were told" if hours else "for any time"
    return [
        f"Grants may rest on identity claims, which count {age} (WORKSPACE_CLAIMS_HOURS); they are kept in the "
        "authenticator's auth_state, which needs JUPYTERHUB_CRYPT_KEY."
    ]


async def _fit(context: Context, seconds: float, found: list[str], notes: list[str]) -> None:
    try:
        fit = await in_time(fitness(context.kube, context.settings, context.clock), seconds)
    except (WorkspaceManagerError, TimeoutError) as error:
        notes.append(f"Whether the cluster is as the hub needs it is not known: {in_words(error)}")
    else:
        found += fit.problems
        notes += fit.notes


async def _guarded(kube: Kube, seconds: float) -> str:
    try:
        on, why = await in_time(guard(kube), seconds)
    except (WorkspaceManagerError, TimeoutError) as error:
        on, why = Guard.UNKNOWN, in_words(error)
    return {
        Guard.ON: "The API server's guard, image/admission.yaml, is on in this namespace.",
        Guard.OFF: "The API server's guard, image/admission.yaml, is not on in this namespace; nothing needs it.",
        Guard.UNKNOWN: f"Whether the API server's guard, image/admission.yaml, is on is not known: {why}",
    }[on]


async def _answered(unanswered: list[str], what: str, answer: Awaitable[T], seconds: float) -> tuple[bool, T | Any]:
    """Whether the plugin answered in time, and its answer; what kept it from doing so goes to ``unanswered``."""
    try:
        return True, await in_time(answer, seconds)
    except WorkspaceManagerError as error:
        unanswered.append(f"{what} failed: {error}")
    except TimeoutError:
        unanswered.append(f"{what} did not end within {seconds:g} s")
    except Exception as error:
        unanswered.append(f"{what} failed: {in_words(error)}")
    return False, None


def _sentences(answer: object) -> list[str]:
    if isinstance(answer, Sequence) and not isinstance(answer, str) and all(isinstance(item, str) for item in answer):
        return [str(item) for item in answer]
    return [f"problems answered with {quote(repr(answer))}; expected: a sequence of sentences"]


def _report(
    parsed: argparse.Namespace,
    settings: Settings | None,
    manager: WorkspaceManager | None,
    problems: list[str],
    *,
    notes: Sequence[str] = (),
    unanswered: Sequence[str] = (),
) -> int:
    code = 1 if problems else NO_ANSWER if unanswered else 0
    problems = [*problems, *unanswered]
    registration = registry.find(settings.workspace_manager) if settings and manager is not None else None
    if parsed.json:
        shown = None
        if registration:
            shown = {
                "name": registration.name,
                "distribution": registration.distribution,
                "version": registration.version,
                "object": registration.object,
                "file": registration.file,
            }
        _print_json(
            {
                "ok": not problems,
                "problems": problems,
                "notes": notes,
                "workspace_manager": shown,
                "settings": settings.as_environ() if settings else None,
            }
        )
    elif problems:
        count = "One problem" if len(problems) == 1 else f"{len(problems)} problems"
        _print_lines([f"{count}:", *(f"- {problem}" for problem in problems)])
    elif settings and registration:
        _print_lines([f"No problem: the hub would start with {registration.name} of {registration.source}."])
        _print_lines(_table([("", name, value) for name, value in settings.as_environ().items()]))
    if not parsed.json:
        _print_lines(notes)
    return code


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _print_lines(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _print_json(document: object) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
