"""Kubernetes quantities: checked, turned into what KubeSpawner takes, and into words.

Always true here: a quantity that is not certain (negative, not finite, of an unknown unit) is a ValueError, never
zero.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache

from kubernetes.utils.quantity import parse_quantity

from .texts import _, ngettext

# The grammar of the API's serialisation format; the library alone also takes "-1", "inf" and "1_000".
_QUANTITY = re.compile(r"(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,2}|[numkMGTPE]|[KMGTPE]i)?", re.ASCII)
_BINARY = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DECIMAL = ("kB", "MB", "GB", "TB", "PB", "EB")
_UNIT = {unit[:-1]: unit for unit in (*_BINARY, *_DECIMAL)}


def quantity_value(quantity: object) -> Decimal:
    """The value of a quantity such as ``1500M``, ``500m``, ``1e9`` or 2.

    Raises:
        ValueError: It is no quantity that the Kubernetes API takes.
    """
    text = str(quantity)
    if isinstance(quantity, bool) or not isinstance(quantity, int | float | str) or not _QUANTITY.fullmatch(text):
        raise ValueError(
            f"{text[:40]!a} is not a Kubernetes quantity; "
            "accepted are a number and a unit, such as 500m, 2, 1500M or 4Gi"
        )
    return _parsed(text)


# Workspaces ask for the same few amounts over and over: here, and in words below.
@lru_cache(maxsize=1024)
def _parsed(text: str) -> Decimal:
    return Decimal(parse_quantity(text))


def cores(quantity: object) -> float:
    """CPU cores, as KubeSpawner's ``cpu_limit`` takes them: ``500m`` is 0.5."""
    return float(quantity_value(quantity))


def octets(quantity: object) -> int:
    """Whole bytes, rounded up, as KubeSpawner's ``mem_limit`` takes them: ``1.5Gi`` is 1610612736."""
    return int(quantity_value(quantity).to_integral_value(rounding=ROUND_CEILING))


def cores_in_words(quantity: object) -> str:
    """``500m`` as "0.5 cores", 1 as "1 core"."""
    value = quantity_value(quantity).normalize()
    # A fraction has no form of its own in gettext: it takes the one of most numbers.
    return ngettext("{cores} core", "{cores} cores", int(value) if value % 1 == 0 else 5, cores=f"{value:f}")


def memory_in_words(quantity: object) -> str:
    """Memory in the unit in which it was written: ``1.5Gi`` as "1.5 GiB", ``1500M`` as "1500 MB".

    A bare number of bytes gets the largest unit that shows it exactly: 1073741824 as "1 GiB", ``1e9`` as "1 GB".
    """
    value = quantity_value(quantity)
    match = _QUANTITY.fullmatch(str(quantity))
    suffix = match.group(3) if match else None
    if suffix in _UNIT:
        return f"{str(quantity)[: -len(suffix)]} {_UNIT[suffix]}"
    if suffix == "k":
        return f"{str(quantity)[:-1]} kB"
    for base, units in ((1024, _BINARY), (1000, _DECIMAL)):
        for power in range(len(units), 0, -1):
            if value and value % base**power == 0:
                return f"{value / base**power:f} {units[power - 1]}"
    return _("{number} bytes", number=f"{value.normalize():f}")
