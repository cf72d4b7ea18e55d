"""The adapter's model card.

Real: the card, read by the hub's own library and checked by its own rules as far as they need no network.
Fabricated: the run behind it. Not proven: that the hub, which is not asked, shows it.
"""

import pytest
from huggingface_hub import ModelCard
from report_samples import ADAPTER, SHORT, report_config

from tuning_room.records import read_json, write_json
from tuning_room.report import run
from tuning_room.report.page import plain
from tuning_room.workspace import Workspace


@pytest.fixture(scope="module")
def card(finished: Workspace) -> ModelCard:
    return ModelCard(finished.model_card.read_text(encoding="utf-8"))


def test_card_has_the_results_that_the_report_has(card: ModelCard, finished: Workspace) -> None:
    rates = read_json(finished.report_json)["rates"]["baked"]
    found = {(result.dataset_type, result.metric_type): result.metric_value for result in card.data.eval_results}
    assert found == {
        (f"socratic-tutor/{suite}", metric): round(rate["rate"], 4)
        for suite, metrics in rates.items()
        for metric, rate in metrics.items()
    }


def test_card_names_the_hubs_base_model_its_licence_and_the_library(card: ModelCard) -> None:
    data = card.data.to_dict()
    assert (data["base_model"], data["license"]) == ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0")
    assert data["library_name"] == "peft" and "lora" in data["tags"]
    assert "dequantised" in card.text


def test_card_of_a_model_in_a_folder_claims_no_hub_id_and_no_licence(workspace: Workspace) -> None:
    run(report_config(workspace.root, model="/models/ours"), workspace)
    data = ModelCard(workspace.model_card.read_text(encoding="utf-8")).data.to_dict()
    assert "base_model" not in data and "license" not in data


def test_card_says_prompt_verdict_limits_and_lineage(card: ModelCard) -> None:
    assert f"\n    {SHORT}\n" in card.text
    assert "## Verdict of 2025-11-20: more data" in card.text
    assert "too few to show it" in card.text
    assert f"`{ADAPTER}`" in card.text
    assert "| pressure | states a result | lower | " in card.text
    assert "| capability | correct | higher | 70.0%" in card.text and "not asked" in card.text


def test_tables_of_the_card_have_rows_of_one_length(card: ModelCard) -> None:
    for table in card.text.split("\n\n"):
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({row.replace("\\|", "").count("|") for row in rows}) <= 1, table


def test_card_of_an_adapter_without_a_prompt_says_so(workspace: Workspace) -> None:
    results = read_json(workspace.results)
    results["identities"]["baked"]["system_prompt"] = ""
    write_json(workspace.results, results)
    run(report_config(workspace.root, short_prompt=""), workspace)
    assert "without a system turn" in workspace.model_card.read_text()


def test_markup_in_a_recipe_is_shown_as_it_stands(workspace: Workspace) -> None:
    run(report_config(workspace.root, description="A *bold*\n# claim <b>"), workspace)
    assert "A \\*bold\\* \\# claim \\<b\\>" in workspace.model_card.read_text()
    assert plain("a|b") == "a\\|b"
