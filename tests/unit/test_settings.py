"""The environment, checked before the hub starts (L3)."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import zoneinfo
from pathlib import Path

import pytest

import workspace_managers
from workspace_managers import ConfigurationError, Settings, texts
from workspace_managers.checks import ACCESS_MODES
from workspace_managers.policy import Policy
from workspace_managers.settings import VARIABLES, chosen_manager

PACKAGE = Path(workspace_managers.__file__).parent
NOWHERE = Path("/nonexistent/namespace")


def read(**environ: str) -> Settings:
    return Settings.from_environ(environ, namespace_file=NOWHERE)


def refused(**environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        read(**environ)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_l3_nothing_set_gives_the_documented_defaults() -> None:
    """L1, L3: the defaults of the seed's table."""
    assert read() == Settings(
        workspace_manager="lscsde",
        storage_class="jupyter-default",
        access_modes=("ReadWriteMany",),
        capacity="10Gi",
        homes=False,
        home_storage_class="jupyter-default",
        home_access_modes=("ReadWriteMany",),
        home_capacity="10Gi",
        start_timeout=900,
        timezone=zoneinfo.ZoneInfo("UTC"),
        scoped_names=True,
        review_minutes=5,
        uncertain_hours=12,
        claims_hours=24,
        at_once=1,
        start_single=False,
        language="en",
        texts=None,
        namespace="default",
    )


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        pytest.param("WORKSPACE_MANAGER", "  LscSDE\n", "workspace_manager", "lscsde", id="manager-strip-casefold"),
        pytest.param("WORKSPACE_MANAGER", "STRASSE-\u00df", "workspace_manager", "strasse-ss", id="manager-casefold"),
        pytest.param("DEFAULT_STORAGE_CLASS", "fast.ssd-1", "storage_class", "fast.ssd-1", id="class-dots"),
        pytest.param("DEFAULT_STORAGE_CLASS", "a" * 253, "storage_class", "a" * 253, id="class-253"),
        pytest.param(
            "DEFAULT_STORAGE_ACCESS_MODES",
            "ReadWriteOnce, ReadOnlyMany",
            "access_modes",
            ("ReadWriteOnce", "ReadOnlyMany"),
            id="modes-two",
        ),
        pytest.param(
            "DEFAULT_STORAGE_ACCESS_MODES", "ReadWriteOncePod", "access_modes", ("ReadWriteOncePod",), id="modes-pod"
        ),
        pytest.param("DEFAULT_STORAGE_CAPACITY", "1.5Ti", "capacity", "1.5Ti", id="capacity-fraction"),
        pytest.param("DEFAULT_STORAGE_CAPACITY", " 10G ", "capacity", "10G", id="capacity-decimal"),
        pytest.param("DEFAULT_STORAGE_CAPACITY", "1", "capacity", "1", id="capacity-one-byte"),
        pytest.param("WORKSPACE_HOME", "claim", "homes", True, id="home-claim"),
        pytest.param("WORKSPACE_HOME", " none ", "homes", False, id="home-none"),
        pytest.param("WORKSPACE_HOME_STORAGE_CLASS", "homes", "home_storage_class", "homes", id="home-class"),
        pytest.param(
            "WORKSPACE_HOME_ACCESS_MODES", "ReadWriteOnce", "home_access_modes", ("ReadWriteOnce",), id="home-modes"
        ),
        pytest.param("WORKSPACE_HOME_CAPACITY", "500Mi", "home_capacity", "500Mi", id="home-capacity"),
        pytest.param("KS_START_TIMEOUT", "1", "start_timeout", 1, id="timeout-least"),
        pytest.param("KS_START_TIMEOUT", "999999999", "start_timeout", 999_999_999, id="timeout-nine-digits"),
        pytest.param(
            "WORKSPACE_TIMEZONE", "Europe/London", "timezone", zoneinfo.ZoneInfo("Europe/London"), id="zone-london"
        ),
        pytest.param("WORKSPACE_SCOPED_NAMES", "false", "scoped_names", False, id="scoped-no"),
        pytest.param("WORKSPACE_SCOPED_NAMES", " true\n", "scoped_names", True, id="scoped-yes"),
        pytest.param("WORKSPACE_REVIEW_MINUTES", "1", "review_minutes", 1, id="review-least"),
        pytest.param("WORKSPACE_REVIEW_MINUTES", " 1440 ", "review_minutes", 1440, id="review-a-day"),
        pytest.param("WORKSPACE_UNCERTAIN_HOURS", "0", "uncertain_hours", 0, id="uncertain-never"),
        pytest.param("WORKSPACES_AT_ONCE", "0", "at_once", 0, id="any-number-at-once"),
        pytest.param("WORKSPACE_START_SINGLE", "true", "start_single", True, id="single-at-once"),
        pytest.param("WORKSPACE_LANGUAGE", "cy", "language", "cy", id="welsh"),
        pytest.param("WORKSPACE_CLAIMS_HOURS", "0", "claims_hours", 0, id="claims-of-any-age"),
        pytest.param("POD_NAMESPACE", "a" * 63, "namespace", "a" * 63, id="namespace-63"),
        pytest.param("POD_NAMESPACE", "x", "namespace", "x", id="namespace-one-character"),
    ],
)
def test_l3_a_good_value_is_taken(name: str, value: str, field: str, expected: object) -> None:
    assert getattr(read(**{name: value}), field) == expected


@pytest.mark.parametrize(
    ("name", "value", "found", "accepted"),
    [
        pytest.param("DEFAULT_STORAGE_CLASS", "Fast", "'Fast'", "lowercase", id="class-upper-case"),
        pytest.param("DEFAULT_STORAGE_CLASS", "a" * 254, "(254 characters)", "at most 253", id="class-254"),
        pytest.param("DEFAULT_STORAGE_CLASS", "a_b", "'a_b'", "StorageClass", id="class-underscore"),
        pytest.param(
            "DEFAULT_STORAGE_ACCESS_MODES", "ReadWriteManny", "'ReadWriteManny'", "ReadWriteMany,", id="modes-typo"
        ),
        pytest.param(
            "DEFAULT_STORAGE_ACCESS_MODES", "readwritemany", "'readwritemany'", "ReadWriteMany,", id="modes-case"
        ),
        pytest.param(
            "DEFAULT_STORAGE_ACCESS_MODES", "ReadWriteMany,", "an empty entry", "ReadWriteMany,", id="modes-comma"
        ),
        pytest.param("DEFAULT_STORAGE_ACCESS_MODES", ",", "an empty entry", "ReadWriteMany,", id="modes-only-comma"),
        pytest.param(
            "DEFAULT_STORAGE_ACCESS_MODES",
            "ReadWriteMany,ReadOnlyMany,ReadWriteMany",
            "twice",
            "none of them twice",
            id="modes-repeated",
        ),
        pytest.param(
            "DEFAULT_STORAGE_ACCESS_MODES",
            "ReadWriteOncePod,ReadWriteMany",
            "puts ReadWriteOncePod beside another",
            "only by itself",
            id="modes-pod-and-other",
        ),
        pytest.param("WORKSPACE_REVIEW_MINUTES", "0", "'0'", "from 1 to 1440", id="review-zero"),
        pytest.param("WORKSPACE_REVIEW_MINUTES", "1441", "'1441'", "from 1 to 1440", id="review-over-a-day"),
        pytest.param("WORKSPACE_UNCERTAIN_HOURS", "0.5", "'0.5'", "from 0 to 8760", id="uncertain-fraction"),
        pytest.param("DEFAULT_STORAGE_CAPACITY", "10GB", "'10GB'", "such as 10Gi, 500Mi or 10G", id="capacity-10GB"),
        pytest.param("DEFAULT_STORAGE_CAPACITY", "0", "no size", "above zero", id="capacity-zero"),
        pytest.param("DEFAULT_STORAGE_CAPACITY", "0Gi", "no size", "above zero", id="capacity-zero-gi"),
        pytest.param("DEFAULT_STORAGE_CAPACITY", "10m", "no size", "above zero", id="capacity-milli"),
        pytest.param("DEFAULT_STORAGE_CAPACITY", "8Ei", "'8Ei'", "below 8Ei", id="capacity-beyond-64-bits"),
        pytest.param("DEFAULT_STORAGE_CAPACITY", "-1Gi", "'-1Gi'", "above zero", id="capacity-negative"),
        pytest.param("DEFAULT_STORAGE_CAPACITY", "inf", "'inf'", "above zero", id="capacity-infinite"),
        pytest.param("DEFAULT_STORAGE_CAPACITY", "10 Gi", "'10 Gi'", "above zero", id="capacity-space"),
        pytest.param("KS_START_TIMEOUT", "15m", "'15m'", "a whole number of seconds", id="timeout-15m"),
        pytest.param("KS_START_TIMEOUT", "0", "'0'", "above zero", id="timeout-zero"),
        pytest.param("KS_START_TIMEOUT", "-5", "'-5'", "above zero", id="timeout-negative"),
        pytest.param("KS_START_TIMEOUT", "90.5", "'90.5'", "whole", id="timeout-fraction"),
        pytest.param("KS_START_TIMEOUT", "1_000", "'1_000'", "whole", id="timeout-underscore"),
        pytest.param("KS_START_TIMEOUT", "\u0661\u0662", "'\\u0661\\u0662'", "whole", id="timeout-other-digits"),
        pytest.param("KS_START_TIMEOUT", "9" * 5000, "(5000 characters)", "nine digits", id="timeout-huge"),
        pytest.param("WORKSPACE_TIMEZONE", "Mars/Olympus", "'Mars/Olympus'", "Europe/London", id="zone-unknown"),
        pytest.param("WORKSPACE_TIMEZONE", "Europe", "'Europe'", "IANA", id="zone-folder"),
        pytest.param("WORKSPACE_TIMEZONE", "../../etc/passwd", "'../../etc/passwd'", "IANA", id="zone-climbs"),
        pytest.param("WORKSPACE_TIMEZONE", "/etc/passwd", "'/etc/passwd'", "IANA", id="zone-absolute"),
        pytest.param("WORKSPACE_TIMEZONE", "zone.tab", "'zone.tab'", "IANA", id="zone-no-zone"),
        pytest.param("WORKSPACE_SCOPED_NAMES", "no", "'no'", "true or false", id="scoped-word"),
        pytest.param("WORKSPACE_SCOPED_NAMES", "0", "'0'", "true or false", id="scoped-number"),
        pytest.param("POD_NAMESPACE", "a" * 64, "'" + "a" * 64, "at most 63", id="namespace-64"),
        pytest.param("POD_NAMESPACE", "a.b", "'a.b'", "no hyphen at either end", id="namespace-dot"),
        pytest.param("POD_NAMESPACE", "-a", "'-a'", "no hyphen at either end", id="namespace-hyphen"),
        pytest.param("POD_NAMESPACE", "a\nb", "'a\\nb'", "letters, digits and hyphens", id="namespace-line-break"),
    ],
)
def test_l3_a_bad_value_is_refused_with_variable_value_and_what_is_accepted(
    name: str, value: str, found: str, accepted: str
) -> None:
    (problem,) = refused(**{name: value})
    assert problem.startswith(f"{name}=")
    before, _, after = problem.partition("; accepted: ")
    assert found in before
    assert accepted in after
    assert problem.isprintable()
    assert len(problem) < 600


@pytest.mark.parametrize("value", [pytest.param("", id="empty"), pytest.param(" \t\n", id="blank")])
@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_l3_an_empty_value_is_refused_and_never_taken_for_unset(variable: object, value: str) -> None:
    """L1, L3: also for WORKSPACE_MANAGER, where an empty value must not become the default."""
    known = next(v for v in VARIABLES if v is variable)
    (problem,) = refused(**{known.name: value})
    assert problem.startswith(f"{known.name} is set, but empty ({value!r}); accepted: {known.accepted}.")
    assert problem.endswith(f"leave it unset for {known.default!r}.")


def test_l3_every_problem_is_told_at_once() -> None:
    problems = refused(
        WORKSPACE_MANAGER="",
        DEFAULT_STORAGE_CLASS="No!",
        DEFAULT_STORAGE_ACCESS_MODES="ReadWriteManny",
        DEFAULT_STORAGE_CAPACITY="10GB",
        WORKSPACE_HOME="true",
        WORKSPACE_HOME_STORAGE_CLASS="No!",
        WORKSPACE_HOME_ACCESS_MODES="",
        WORKSPACE_HOME_CAPACITY="0",
        KS_START_TIMEOUT="15m",
        WORKSPACE_TIMEZONE="Nowhere",
        WORKSPACE_SCOPED_NAMES="True",
        WORKSPACE_REVIEW_MINUTES="0",
        WORKSPACE_UNCERTAIN_HOURS="-1",
        WORKSPACE_CLAIMS_HOURS="a day",
        WORKSPACES_AT_ONCE="-1",
        WORKSPACE_START_SINGLE="yes",
        WORKSPACE_LANGUAGE="../de",
        WORKSPACE_TEXTS="/nonexistent",
        POD_NAMESPACE="No!",
        WORKSPACE_POLICY="/nonexistent/policy.yaml",
    )
    assert [problem.split("=")[0].split(" ")[0] for problem in problems] == [variable.name for variable in VARIABLES]


def test_l3_language_has_a_catalogue_of_ours_or_of_the_site(tmp_path: Path) -> None:
    """Whatever is wrong with it, the hub says so at its start and not in the middle of a page."""
    assert refused(WORKSPACE_LANGUAGE="fr") == ("WORKSPACE_LANGUAGE='fr' has no catalogue; accepted: cy, de, en.",)
    catalogue = tmp_path / "fr" / "LC_MESSAGES" / "workspace_managers.mo"
    catalogue.parent.mkdir(parents=True)
    catalogue.write_text("not one")
    (problem,) = refused(WORKSPACE_LANGUAGE="fr", WORKSPACE_TEXTS=str(tmp_path))
    assert problem.startswith(f"WORKSPACE_TEXTS='{tmp_path}' has a catalogue that cannot be read: ")
    good = texts.OURS / "de" / "LC_MESSAGES" / "workspace_managers.mo"
    catalogue.write_bytes(good.read_bytes())
    settings = read(WORKSPACE_LANGUAGE="fr", WORKSPACE_TEXTS=str(tmp_path))
    assert (settings.language, settings.texts) == ("fr", tmp_path)
    assert Settings.from_environ(settings.as_environ()) == settings


def test_l3_each_access_mode_that_is_not_one_is_named() -> None:
    (problem,) = refused(DEFAULT_STORAGE_ACCESS_MODES="RWX,ReadWriteMany,RWO")
    assert "names 'RWX', 'RWO', which Kubernetes does not know" in problem
    assert all(mode in problem for mode in ACCESS_MODES)


@pytest.mark.parametrize(
    ("environ", "content", "expected"),
    [
        pytest.param({}, "science\n", "science", id="from-file"),
        pytest.param({"POD_NAMESPACE": "hub"}, "science", "hub", id="variable-first"),
        pytest.param({"POD_NAMESPACE": "hub"}, "No!", "hub", id="file-not-read"),
    ],
)
def test_l3_namespace_comes_from_the_variable_then_the_service_account(
    tmp_path: Path, environ: dict[str, str], content: str, expected: str
) -> None:
    file = tmp_path / "namespace"
    file.write_text(content)
    assert Settings.from_environ(environ, namespace_file=file).namespace == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"No!", "POD_NAMESPACE is unset, and the content of {file}='No!' is no name", id="bad"),
        pytest.param(b"", "POD_NAMESPACE is unset, and the content of {file} is set, but empty", id="empty"),
        pytest.param(b"\xff", "POD_NAMESPACE is unset and {file} cannot be read (UnicodeDecodeError", id="not-text"),
        pytest.param(None, "POD_NAMESPACE is unset and {file} cannot be read (IsADirectoryError", id="folder"),
    ],
)
def test_l3_a_bad_namespace_file_is_refused_by_name(tmp_path: Path, content: bytes | None, expected: str) -> None:
    file = tmp_path / "namespace"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environ({}, namespace_file=file)
    (problem,) = caught.value.problems
    assert problem.startswith(expected.format(file=file))
    assert "accepted: a namespace" in problem


def test_l3_settings_and_their_variables_are_the_same_list() -> None:
    """L3: what is documented is what is read."""
    assert {field.name for field in dataclasses.fields(Settings)} == {variable.field for variable in VARIABLES}
    assert len({variable.name for variable in VARIABLES}) == len(VARIABLES)
    types = {str: "str", int: "int", bool: "bool", tuple: "tuple[str, ...]", zoneinfo.ZoneInfo: "zoneinfo.ZoneInfo"}
    types |= {Policy: "Policy", type(None): "Path | None"}
    settings = read()
    for field in dataclasses.fields(Settings):
        assert types[type(getattr(settings, field.name))] == field.type


def test_l3_settings_are_written_back_as_the_environment_that_gives_them() -> None:
    settings = read(DEFAULT_STORAGE_ACCESS_MODES="ReadWriteOnce, ReadOnlyMany", WORKSPACE_TIMEZONE="Asia/Kolkata")
    assert read(WORKSPACE_SCOPED_NAMES="false").as_environ()["WORKSPACE_SCOPED_NAMES"] == "false"
    assert read(**settings.as_environ()) == settings
    assert read().as_environ() == {variable.name: variable.default for variable in VARIABLES}


def test_l3_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().capacity = "1Gi"  # type: ignore[misc]


def test_l3_the_process_environment_is_what_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KS_START_TIMEOUT", "77")
    monkeypatch.setenv("POD_NAMESPACE", "here")
    monkeypatch.setenv("WORKSPACE_MANAGER", "Other")
    assert Settings.from_environ().start_timeout == 77
    assert chosen_manager() == "other"


def test_l1_the_manager_alone_can_be_read_while_other_variables_are_bad() -> None:
    assert chosen_manager({"KS_START_TIMEOUT": "15m"}) == "lscsde"
    with pytest.raises(ConfigurationError, match=r"^WORKSPACE_MANAGER is set, but empty"):
        chosen_manager({"WORKSPACE_MANAGER": " "})


def test_l3_a_machine_without_a_time_zone_database_is_a_problem_and_no_traceback() -> None:
    program = (
        "import zoneinfo; zoneinfo.reset_tzpath([]); import sys; sys.modules['tzdata'] = None\n"
        "from workspace_managers import ConfigurationError, Settings\n"
        "try: Settings.from_environ({})\n"
        "except ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert done.stdout.startswith("WORKSPACE_TIMEZONE='UTC' is no time zone of this machine's time zone database")


def test_l3_no_other_module_of_the_framework_reads_the_environment() -> None:
    sources = {path.relative_to(PACKAGE): path.read_text() for path in PACKAGE.rglob("*.py")}
    readers = {
        str(path)
        for path, text in sources.items()
        if path.parts[0] not in ("devcluster", "contract") and ("os.environ" in text or "getenv" in text)
    }
    assert readers == {"settings.py"}
