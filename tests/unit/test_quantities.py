"""Kubernetes quantities (F2: in the units they are in)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_managers import quantities


@pytest.mark.parametrize(
    ("quantity", "octets", "words"),
    [
        ("1.5Gi", 1610612736, "1.5 GiB"),
        ("1500M", 1500000000, "1500 MB"),
        ("1e9", 1000000000, "1 GB"),
        ("1E9", 1000000000, "1 GB"),
        (1073741824, 1073741824, "1 GiB"),
        ("4Gi", 4294967296, "4 GiB"),
        ("512k", 512000, "512 kB"),
        ("100", 100, "100 bytes"),
        ("1", 1, "1 bytes"),
        (0, 0, "0 bytes"),
        ("1500m", 2, "1.5 bytes"),
        ("2Ti", 2199023255552, "2 TiB"),
        ("1E", 10**18, "1 EB"),
    ],
)
def test_memory(quantity: object, octets: int, words: str) -> None:
    assert quantities.octets(quantity) == octets
    assert quantities.memory_in_words(quantity) == words


@pytest.mark.parametrize(
    ("quantity", "cores", "words"),
    [
        (2, 2.0, "2 cores"),
        ("1", 1.0, "1 core"),
        ("500m", 0.5, "0.5 cores"),
        ("1000m", 1.0, "1 core"),
        (0.25, 0.25, "0.25 cores"),
        ("10", 10.0, "10 cores"),
    ],
)
def test_cpu(quantity: object, cores: float, words: str) -> None:
    assert quantities.cores(quantity) == cores
    assert quantities.cores_in_words(quantity) == words


@pytest.mark.parametrize(
    "value",
    [
        "10GB",
        "-1",
        "inf",
        "nan",
        "1_000",
        " 1",
        "",
        "4 Gi",
        "1e",
        "Gi",
        "4gi",
        True,
        None,
        [],
        {},
        "٤Gi",
        "1e999",
        float("inf"),
        "1\n",
    ],
    ids=repr,
)
def test_what_the_api_would_not_take_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        quantities.quantity_value(value)


@given(st.integers(min_value=0, max_value=2**60), st.sampled_from(["", "k", "M", "Ki", "Mi", "Gi", "m"]))
def test_never_less_than_was_written(number: int, unit: str) -> None:
    assert quantities.octets(f"{number}{unit}") >= quantities.quantity_value(f"{number}{unit}")
