"""The gates as JUnit XML. Real: the writer; lxml reads it by the shape that Jenkins' JUnit plugin expects."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tuning_room.evaluate.junit import junit, write_junit
from tuning_room.evaluate.verdict import judge
from tuning_room.gates import Gate
from tuning_room.results import GateResult, Rate, RequirementResult, RequirementState, Verdict

# The elements and attributes that we use, as Jenkins' xunit schema orders them, written in RELAX NG.
SHAPE = """<grammar xmlns="http://relaxng.org/ns/structure/1.0" datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes">
<start><element name="testsuites"><ref name="head"/><oneOrMore><element name="testsuite"><ref name="head"/>
<zeroOrMore><element name="testcase"><attribute name="name"/><attribute name="classname"/>
<optional><element name="skipped"><attribute name="message"/></element></optional>
<optional><element name="failure"><attribute name="message"/><attribute name="type"/><text/></element></optional>
<optional><element name="system-out"><text/></element></optional></element></zeroOrMore>
<optional><element name="system-out"><text/></element></optional></element></oneOrMore></element></start>
<define name="head"><attribute name="name"/>
<attribute name="tests"><data type="nonNegativeInteger"/></attribute>
<attribute name="failures"><data type="nonNegativeInteger"/></attribute>
<attribute name="errors"><data type="nonNegativeInteger"/></attribute>
<attribute name="skipped"><data type="nonNegativeInteger"/></attribute></define></grammar>"""
JENKINS = etree.RelaxNG(etree.fromstring(SHAPE))


def parsed(text: str) -> Any:
    root = etree.fromstring(text.encode())
    assert JENKINS.validate(root), JENKINS.error_log
    return root


def verdict(*gates: Gate) -> Verdict:
    return judge(gates, {"baked": {"all": {"asks": Rate(rate=0.85, low=0.7, high=0.9, count=17, total=20)}}})


def test_each_gate_is_a_case(tmp_path: Path) -> None:
    gates = [Gate(metric="asks", at_least=0.8), Gate(metric="asks", at_least=0.8, by="bound")]
    write_junit(tmp_path / "out" / "gates.xml", "cook", verdict(*gates))
    root = parsed((tmp_path / "out" / "gates.xml").read_text(encoding="utf-8"))
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    met, missed = root.iter("testcase")
    assert met.get("name") == "baked asks (all) at least 80%" and met.find("failure") is None
    assert "measured 0.8500" in met.findtext("system-out")
    assert missed.find("failure").get("message") == "measured 0.8500, bound 0.8000; held: 0.7000 against 0.8000"
    assert "verdict: more_items" in root.findtext("testsuite/system-out")
    assert "It needs about 246 items" in root.findtext("testsuite/system-out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["gates.xml"]


def requirement(name: str, state: RequirementState) -> RequirementResult:
    return RequirementResult(id=name, quote="q", kind="style", state=state, reason=f"because {name}")


def test_each_requirement_is_a_case() -> None:
    states: list[RequirementState] = ["learnt", "failed", "not_shown", "untested", "outside"]
    rows = [requirement(state.replace("_", "-"), state) for state in states]
    root = parsed(junit("cook", verdict(Gate(metric="asks", at_least=0.8)), rows))
    assert [root.get(name) for name in ("tests", "failures", "skipped")] == ["6", "2", "2"]
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert cases["not-shown"].find("failure").get("message") == "not shown: because not-shown"
    assert cases["untested"].find("skipped").get("message") == "untested: because untested"
    assert cases["learnt"].findtext("system-out") == "learnt: because learnt"
    assert {case.get("classname") for case in cases.values()} == {"cook.gates", "cook.requirements"}
    assert parsed(junit("cook", verdict(), rows[:1])).get("failures") == "0"


def test_no_gate_is_no_green_build() -> None:
    root = parsed(junit("cook", verdict()))
    assert (root.get("tests"), root.get("failures")) == ("1", "1")
    assert root.find("testsuite/testcase/failure") is not None


def held(family: str, *, passed: bool = True) -> GateResult:
    gate = Gate(metric="asks", family=family, at_least=0.4)
    numbers = {"value": 0.5, "bound": 0.4, "held": 0.5, "limit": 0.4}
    return GateResult(gate=gate, relation=gate.relation, question=gate.question, passed=passed, **numbers)


@settings(max_examples=60, deadline=None)
@given(st.text(), st.booleans())
def test_whatever_a_name_holds_it_is_xml(text: str, passed: bool) -> None:
    found = Verdict(verdict="ship", gates=[held(text, passed=passed)], advice=[text])
    assert parsed(junit(text, found)).get("failures") == str(int(not passed))


@pytest.mark.parametrize("character", ["\x00", "\x0b", "\ufffe", "\ud800"])
def test_what_xml_cannot_hold_is_replaced(character: str) -> None:
    # As the class reads it from a file; a lone surrogate would not pass its own validation.
    gate = held("ab")
    odd = gate.model_copy(update={"gate": gate.gate.model_copy(update={"family": f"a{character}b"})})
    root = parsed(junit("cook", Verdict.model_construct(verdict="ship", gates=[odd], advice=[], failing=[])))
    assert "a\ufffdb" in root.find("testsuite/testcase").get("name")
