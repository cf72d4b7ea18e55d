"""The gates as JUnit XML, for a build server that shows test results."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from tuning_room.files import atomic_writer
from tuning_room.results import Verdict

# Characters that XML 1.0 cannot hold, not even escaped.
FORBIDDEN = re.compile("[^\\t\\n\\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(path: Path, name: str, verdict: Verdict) -> None:
    """Write a verdict as JUnit XML: a test suite with a case for each gate, named after the recipe.

    Without gates there is one case, which fails: a build must not be green because nothing was checked.
    """
    with atomic_writer(path) as out:
        out.write(junit(name, verdict))


def junit(name: str, verdict: Verdict) -> str:
    """Return the XML in the form that Jenkins reads: testsuites, testsuite, testcase, failure."""
    gates = verdict.gates
    failures = sum(not held.passed for held in gates) if gates else 1
    counts = {"tests": str(len(gates) or 1), "failures": str(failures), "errors": "0", "skipped": "0"}
    root = ET.Element("testsuites", {"name": _clean(name), **counts})
    suite = ET.SubElement(root, "testsuite", {"name": _clean(f"{name}: gates"), **counts})
    for held in gates:
        text = f"measured {held.value:.4f}, bound {held.bound:.4f}"
        if (held.held, held.limit) != (held.value, held.bound):
            text += f"; held: {held.held:.4f} against {held.limit:.4f}"
        _case(suite, name, held.gate.name, text, passed=held.passed)
    if not gates:
        _case(suite, name, "a gate is set", "no gate is set under evaluate.gates", passed=False)
    ET.SubElement(suite, "system-out").text = _clean("\n".join([f"verdict: {verdict.verdict}", *verdict.advice]))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, name: str, gate: str, text: str, *, passed: bool) -> None:
    case = ET.SubElement(suite, "testcase", name=_clean(gate), classname=_clean(f"{name}.gates"))
    if passed:
        ET.SubElement(case, "system-out").text = _clean(text)
    else:
        ET.SubElement(case, "failure", message=_clean(text), type="gate").text = _clean(f"{gate}: {text}")


def _clean(text: str) -> str:
    return FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
