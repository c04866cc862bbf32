# SPDX-License-Identifier: Apache-2.0
"""Numbers as text for Prometheus (exposition format 0.0.4)."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from countermark.observe.board import Series
from countermark.observe.catalogue import FAMILIES, HISTOGRAM, INTERNAL, PREFIX, Family

Samples: TypeAlias = dict[str, dict[tuple[str, ...], list[float]]]
"""Values by family name and label values."""


def add(samples: Samples, series: Iterable[Series]) -> None:
    """Add series up: those that several processes have under the same labels are one."""
    for family, labels, values in series:
        known = samples.setdefault(family.name, {}).setdefault(labels, [0.0] * len(values))
        for place, value in enumerate(values):
            known[place] += value


def expose(samples: Mapping[str, Mapping[tuple[str, ...], list[float]]]) -> bytes:
    """The whole page."""
    lines: list[str] = []
    for family in FAMILIES.values():
        found = samples.get(family.name)
        if not found or family.name in INTERNAL:
            continue
        name = PREFIX + family.name
        lines += (f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}")
        for labels in sorted(found):
            lines += _lines(family, labels, found[labels])
    return "\n".join([*lines, ""]).encode("utf-8")


def _lines(family: Family, labels: tuple[str, ...], values: list[float]) -> list[str]:
    name = PREFIX + family.name
    pairs = [f'{key}="{_escaped(value)}"' for key, value in zip(family.labels, labels, strict=True)]
    if family.kind != HISTOGRAM:
        return [f"{name}{_braced(pairs)} {_number(values[0])}"]
    lines, total = [], 0.0
    for bound, count in zip((*map(_number, family.bounds), "+Inf"), values, strict=False):
        total += count
        bucket = _braced([*pairs, f'le="{bound}"'])
        lines.append(f"{name}_bucket{bucket} {_number(total)}")
    lines.append(f"{name}_sum{_braced(pairs)} {_number(values[-1])}")
    lines.append(f"{name}_count{_braced(pairs)} {_number(total)}")
    return lines


def _braced(pairs: list[str]) -> str:
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
