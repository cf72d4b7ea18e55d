"""The gates as JUnit XML, for a build server that shows test results."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuning_room.files import atomic_writer

# What XML 1.0 cannot hold, not even escaped.
FORBIDDEN = re.compile("[^\\t\\n\\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(path: Path, name: str, verdict: Mapping[str, Any]) -> None:
    """Write the verdict of `results.json`: a test suite with a case for each gate, named after the recipe.

    Without gates there is one case, which fails: a build must not be green because nothing was asked.
    """
    with atomic_writer(path) as out:
        out.write(junit(name, verdict))


def junit(name: str, verdict: Mapping[str, Any]) -> str:
    """Return the XML, in the form that Jenkins reads: testsuites, testsuite, testcase, failure."""
    gates: Sequence[Mapping[str, Any]] = verdict["gates"]
    failures = sum(not gate["passed"] for gate in gates) if gates else 1
    counts = {"tests": str(len(gates) or 1), "failures": str(failures), "errors": "0", "skipped": "0"}
    root = ET.Element("testsuites", {"name": _clean(name), **counts})
    suite = ET.SubElement(root, "testsuite", {"name": _clean(f"{name}: gates"), **counts})
    for gate in gates:
        _case(suite, name, gate["gate"], _measured(gate), passed=gate["passed"])
    if not gates:
        _case(suite, name, "a gate is set", "no gate is set under evaluate.gates", passed=False)
    lines = [f"verdict: {verdict['verdict']}", *verdict.get("advice", [])]
    ET.SubElement(suite, "system-out").text = _clean("\n".join(lines))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, name: str, gate: str, text: str, *, passed: bool) -> None:
    case = ET.SubElement(suite, "testcase", name=_clean(gate), classname=_clean(f"{name}.gates"))
    if passed:
        ET.SubElement(case, "system-out").text = _clean(text)
    else:
        ET.SubElement(case, "failure", message=_clean(text), type="gate").text = _clean(f"{gate}: {text}")


def _measured(gate: Mapping[str, Any]) -> str:
    """Return what was measured and what was asked for, and what of it was held where that is another number."""
    held, limit = gate.get("held", gate["value"]), gate.get("limit", gate["bound"])
    text = f"measured {gate['value']:.4f}, bound {gate['bound']:.4f}"
    if (held, limit) == (gate["value"], gate["bound"]):
        return text
    return f"{text}; held: {held:.4f} against {limit:.4f}"


def _clean(text: str) -> str:
    return FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
