"""Flows that a recipe brings itself: found, checked before anything is asked, and run. Real: SDG Hub, the files."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from flow_samples import ChatServer, candidates, half, last

from tuning_room import generate
from tuning_room.errors import RecipeError
from tuning_room.generate.config import GenerateConfig
from tuning_room.generate.flow_runner import OUTPUTS, PROMPTED, SHIPPED, Flows
from tuning_room.generate.prompts import PromptFile
from tuning_room.workspace import Workspace

QUERY: dict[str, Any] = {
    "metadata": {"name": "own", "id": "own-query", "version": "1.0.0"},
    "blocks": [
        {
            "block_type": "ChatPromptBlock",
            "block_config": {
                "block_name": "prompt",
                "input_cols": {"passage": "text", "shift": "shift"},
                "output_cols": ["asking"],
                "prompt_config_path": "ask.yaml",
            },
        },
        {
            "block_type": "TeacherBlock",
            "block_config": {"block_name": "ask", "input_cols": ["asking"], "output_cols": ["question"]},
        },
    ],
}
ASK = [{"role": "user", "content": "Working at {{ shift }}: ask about {{ text }}"}]


def own_flow(folder: Path, flow: object = QUERY, prompt: object = ASK, name: str = "query") -> Path:
    place = folder / "flows" / name
    place.mkdir(parents=True)
    (place / "flow.yaml").write_text(flow if isinstance(flow, str) else yaml.safe_dump(flow))
    (place / "ask.yaml").write_text(prompt if isinstance(prompt, str) else yaml.safe_dump(prompt))
    return folder / "flows"


def without(path: str) -> dict[str, object]:
    """Return the query flow without one part of it."""
    flow = yaml.safe_load(yaml.safe_dump(QUERY))
    place = flow
    *above, name = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in above:
        place = place[part]
    del place[name]
    return dict(flow)


def changed(config: GenerateConfig, **changes: object) -> GenerateConfig:
    return GenerateConfig.model_validate({**config.model_dump(), **changes})


def test_a_flow_of_ones_own_takes_the_place_of_the_shipped_one(
    tmp_path: Path, server: ChatServer, config: GenerateConfig, workspace: Workspace
) -> None:
    columns = tmp_path / "columns.yaml"
    columns.write_text("shift: {night: {text: midnight}}")
    generate.run(changed(config, flows=own_flow(tmp_path), columns=columns, rows_per_chunk=1), workspace)
    asked = [last(body) for body in server.bodies if last(body).startswith("Working at midnight: ask about Chapter")]
    assert len(asked) == 3
    assert {row.traits["shift"] for row in candidates(workspace)} == {"night"}


@pytest.mark.parametrize("column", ["question", "drawn_up"])
def test_of_several_steps_of_a_flow_only_the_one_that_makes_its_message_is_cleaned_as_one(
    tmp_path: Path, server: ChatServer, config: GenerateConfig, workspace: Workspace, column: str
) -> None:
    prompt, ask = QUERY["blocks"]
    prompt = {**prompt, "block_config": {**prompt["block_config"], "input_cols": {"passage": "text"}}}
    outline = {**ask, "block_config": {**ask["block_config"], "block_name": "outline", "output_cols": ["outline"]}}
    asking = {**ask, "block_config": {**ask["block_config"], "output_cols": [column]}}
    rename = {
        "block_type": "RenameColumnsBlock",
        "block_config": {"block_name": "rename", "input_cols": {"drawn_up": "question"}},
    }
    blocks = [prompt, outline, asking, *([rename] if column != "question" else [])]
    flows = own_flow(tmp_path, {**QUERY, "blocks": blocks}, [{"role": "user", "content": "About {{ text }}"}])
    server.answer = lambda body: f'User: "{half(body)}"'
    result = generate.run(changed(config, flows=flows, rows_per_chunk=1), workspace)
    assert {row.messages[0].content for row in candidates(workspace)} == {f"What is half of {n}?" for n in (1, 2, 3)}
    assert result.cleaned == {"role labels": 3, "quotes": 3}


def test_a_flow_is_an_input_of_the_stage(tmp_path: Path, config: GenerateConfig, workspace: Workspace) -> None:
    flows = own_flow(tmp_path)
    columns = tmp_path / "columns.yaml"
    columns.write_text("shift: {night: {}}")
    given = changed(config, flows=flows, columns=columns)
    assert {flows, columns} <= set(generate.inputs(given, workspace))


EVIL = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
MISTAKES: dict[str, tuple[dict[str, object], str]] = {
    "no such flow": ({"name": "queries"}, "no flow is called 'queries'"),
    "not YAML": ({"flow": "a: [b"}, "flow.yaml"),
    "no blocks": ({"flow": {"metadata": {"id": "a"}}}, "list of blocks"),
    "no id": ({"flow": without("metadata.id")}, "metadata.id"),
    "a block that calls elsewhere": (
        {"flow": {**QUERY, "blocks": [{"block_type": "AgentBlock", "block_config": {}}]}},
        "no block 'AgentBlock'",
    ),
    "a block that runs code": (
        {"flow": {**QUERY, "blocks": [{"block_type": "PythonInterpreterBlock", "block_config": {}}]}},
        "no block 'PythonInterpreterBlock'",
    ),
    "a template that is not in a sandbox": (
        {"flow": {**QUERY, "blocks": [{"block_type": "PromptBuilderBlock", "block_config": {}}]}},
        "no block 'PromptBuilderBlock'",
    ),
    "a value that is not given": ({"prompt": [{"role": "user", "content": "{{ txt }}"}]}, "no value 'txt'"),
    "a template that is none": ({"prompt": [{"role": "user", "content": "{{ text"}]}, "ask.yaml"),
    "a role that is none": ({"prompt": [{"role": "human", "content": "a"}]}, "0.role"),
    "the last word is not the user's": ({"prompt": [{"role": "system", "content": "a"}]}, "must be the user's"),
    "no message": ({"prompt": []}, "must be the user's"),
    "a prompt that is text": ({"prompt": "Ask!"}, "ask.yaml"),
    "a template that looks into Python": ({"prompt": [{"role": "user", "content": EVIL}]}, "unsafe"),
    "no column that the next flow needs": ({"flow": without("blocks.1")}, "no column 'question'"),
    "a column that no row has": ({"flow": QUERY}, "shift"),
}


@pytest.mark.parametrize(("given", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_flow_is_named_and_nothing_is_paid(
    tmp_path: Path,
    server: ChatServer,
    config: GenerateConfig,
    workspace: Workspace,
    given: dict[str, object],
    said: str,
) -> None:
    columns = tmp_path / "columns.yaml"
    columns.write_text("shift: {night: {}}" if said != "shift" else "persona: {a: {}}")
    flows = own_flow(tmp_path, **given)  # type: ignore[arg-type]
    with pytest.raises(Exception, match=said) as caught:
        generate.run(changed(config, flows=flows, columns=columns), workspace)
    assert isinstance(caught.value, RecipeError) or said == "shift"
    assert server.bodies == []


@pytest.mark.parametrize(
    ("roles", "said"), [(["user", "system"], "all messages must be"), (["user"], "the last message must be")]
)
def test_a_system_prompt_of_other_roles_is_named(tmp_path: Path, roles: list[str], said: str) -> None:
    flow = yaml.safe_load((SHIPPED / "answer" / "flow.yaml").read_text())
    flow["blocks"][1]["block_config"]["prompt_config_path"] = "ask.yaml"
    prompt = [{"role": role, "content": "{{ instructions }}"} for role in roles]
    with pytest.raises(RecipeError, match=rf"ask\.yaml: {said} the system's"):
        Flows(own_flow(tmp_path, flow, prompt, name="answer"))


def test_flows_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such folder"):
        Flows(tmp_path / "flows")


def test_a_flow_that_drops_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flows = Flows()
    monkeypatch.setattr(flows, "_made", lambda *_given: [{"row": 1, "reply": "a"}])
    with pytest.raises(RecipeError, match="dropped or reordered"):
        flows.run("answer", [{}, {}])


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_a_shipped_flow_and_its_prompts_are_whole(name: str) -> None:
    flow = yaml.safe_load((SHIPPED / name / "flow.yaml").read_text())
    assert flow["metadata"]["id"] and flow["metadata"]["description"]
    prompts = {path.name for path in (SHIPPED / name).glob("*.yaml") if path.name != "flow.yaml"}
    used = {b["block_config"]["prompt_config_path"]: b["block_type"] for b in flow["blocks"] if prompted(b)}
    assert set(used) == prompts
    for file, block in used.items():
        assert PromptFile(SHIPPED / name / file, PROMPTED[block]).names


def prompted(block: dict[str, Any]) -> bool:
    return "prompt_config_path" in block["block_config"]


def test_shipped_flows_pass_the_rules_for_a_recipes_own(tmp_path: Path) -> None:
    import shutil

    for name in OUTPUTS:
        shutil.copytree(SHIPPED / name, tmp_path / name)
    assert Flows(tmp_path).own == tmp_path


@pytest.mark.parametrize("named", ["../../secret.yaml", "/etc/passwd", "../query/../../secret.yaml"])
def test_a_prompt_outside_the_flows_is_not_read(named: str, tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text(yaml.safe_dump(ASK))
    flow = yaml.safe_load(yaml.safe_dump(QUERY))
    flow["blocks"][0]["block_config"]["prompt_config_path"] = named
    with pytest.raises(RecipeError, match=rf"flow\.yaml: prompt_config_path: '{named}' is outside the flows"):
        Flows(own_flow(tmp_path, flow))
