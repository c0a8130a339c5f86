"""Kubernetes quantities (F2: in the units they are in)."""

from __future__ import annotations

from fractions import Fraction

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


SCALES = {"": Fraction(1), "m": Fraction(1, 1000), "e3": Fraction(1000), "E-2": Fraction(1, 100)}
SCALES |= {unit: Fraction(1000) ** (power + 1) for power, unit in enumerate("kMGTPE")}
SCALES |= {f"{unit}i": Fraction(1024) ** (power + 1) for power, unit in enumerate("KMGTPE")}
# As many digits as are kept exactly.
NUMBERS = st.integers(0, 10**9).map(str) | st.decimals(0, 10**5, places=3).map("{:f}".format)


@given(NUMBERS, st.sampled_from(sorted(SCALES)))
def test_any_quantity_is_its_number_times_its_unit(number: str, unit: str) -> None:
    """Never less than was written, and no more than the byte that a part of one takes."""
    value = Fraction(number) * SCALES[unit]
    quantity = f"{number}{unit}"
    assert quantities.quantity_value(quantity) == value
    assert value <= quantities.octets(quantity) < value + 1
    assert quantities.cores(quantity) == float(value)


@given(NUMBERS, st.sampled_from(sorted(SCALES)))
def test_any_quantity_is_told_as_what_it_is(number: str, unit: str) -> None:
    """F2: the number and the unit that the user reads are the quantity."""
    told, words = quantities.memory_in_words(f"{number}{unit}").split(" ")
    scale = SCALES["" if words == "bytes" else words.removesuffix("B")]
    assert Fraction(told) * scale == Fraction(number) * SCALES[unit]


@given(st.text() | st.text("0123456789.eE+-mkMGTPi _", max_size=8))
def test_any_text_is_a_certain_quantity_or_none(text: str) -> None:
    """A hub must neither crash on it nor take it for nothing."""
    try:
        value = quantities.quantity_value(text)
    except ValueError:
        return
    assert value.is_finite()
    assert value >= 0
    assert text[0] in "0123456789."
