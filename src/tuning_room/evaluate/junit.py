"""The gates and requirements as JUnit XML, for a build server that shows test results."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tuning_room.files import atomic_writer
from tuning_room.results import RequirementResult, Verdict

# Characters that XML 1.0 cannot hold, not even escaped.
FORBIDDEN = re.compile("[^\\t\\n\\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(
    path: Path, name: str, verdict: Verdict, requirements: Sequence[RequirementResult] | None = None
) -> None:
    """Write a verdict as JUnit XML: a test suite with a case for each gate and requirement, named after the recipe.

    A requirement that is not shown fails, one that is untested or stays outside the weights is skipped. Without gates
    and requirements there is one case, which fails: a build must not be green because nothing was checked.
    """
    with atomic_writer(path) as out:
        out.write(junit(name, verdict, requirements))


def junit(name: str, verdict: Verdict, requirements: Sequence[RequirementResult] | None = None) -> str:
    """Return the XML in the form that Jenkins reads: testsuites, testsuite, testcase, failure or skipped."""
    cases = [*_gates(name, verdict), *(_requirement(name, one) for one in requirements or ())]
    if not cases:
        cases = [_case(f"{name}.gates", "a gate is set", "failure", "no gate is set under evaluate.gates")]
    outcomes = Counter(case[0].tag for case in cases)
    counts = {"tests": len(cases), "failures": outcomes["failure"], "errors": 0, "skipped": outcomes["skipped"]}
    numbers = {key: str(value) for key, value in counts.items()}
    root = ET.Element("testsuites", {"name": _clean(name), **numbers})
    suite = ET.SubElement(root, "testsuite", {"name": _clean(f"{name}: gates"), **numbers})
    suite.extend(cases)
    ET.SubElement(suite, "system-out").text = _clean("\n".join([f"verdict: {verdict.verdict}", *verdict.advice]))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _gates(name: str, verdict: Verdict) -> Iterator[ET.Element]:
    for held in verdict.gates:
        text = f"measured {held.value:.4f}, bound {held.bound:.4f}"
        if (held.held, held.limit) != (held.value, held.bound):
            text += f"; held: {held.held:.4f} against {held.limit:.4f}"
        yield _case(f"{name}.gates", held.gate.name, "system-out" if held.passed else "failure", text)


def _requirement(name: str, one: RequirementResult) -> ET.Element:
    outcome = {"learnt": "system-out", "untested": "skipped", "outside": "skipped"}.get(one.state, "failure")
    text = f"{one.state.replace('_', ' ')}: {one.reason}"
    return _case(f"{name}.requirements", one.id, outcome, text)


def _case(place: str, name: str, outcome: str, text: str) -> ET.Element:
    """Return a case with one part: its output, why it failed, or why it was skipped."""
    case = ET.Element("testcase", name=_clean(name), classname=_clean(place))
    if outcome == "system-out":
        ET.SubElement(case, outcome).text = _clean(text)
        return case
    part = ET.SubElement(case, outcome, message=_clean(text))
    if outcome == "failure":
        part.set("type", "gate")
        part.text = _clean(f"{name}: {text}")
    return case


def _clean(text: str) -> str:
    return FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
