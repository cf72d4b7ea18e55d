"""Which way a PDF is read. The model folders are empty stand-ins: Docling's models are not run here."""

from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from tuning_room.convert import installed
from tuning_room.convert.config import ConvertConfig, Layout
from tuning_room.convert.installed import pdf_layout
from tuning_room.errors import MissingPrerequisiteError, ModelNotFoundError


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for model in (installed.LAYOUT_MODEL, installed.TABLE_MODEL):
        (tmp_path / "models" / model.replace("/", "--")).mkdir(parents=True)
    return tmp_path / "models"


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every package that Docling's models need seems to be installed."""
    monkeypatch.setattr(installed, "find_spec", lambda name: ModuleSpec(name, None))


@pytest.fixture(autouse=True)
def no_models_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DOCLING_ARTIFACTS_PATH", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def config(layout: Layout, artifacts: Path | None = None) -> ConvertConfig:
    return ConvertConfig(documents=Path(), layout=layout, artifacts=artifacts)


@pytest.mark.usefixtures("packages")
def test_auto_takes_models_where_they_are(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pdf_layout(config("auto", models)) == "models"
    assert pdf_layout(config("auto")) == "rules"
    monkeypatch.setenv("DOCLING_ARTIFACTS_PATH", str(models))
    assert pdf_layout(config("auto")) == "models"


@pytest.mark.usefixtures("packages")
def test_auto_finds_models_in_the_hub_cache(tmp_path: Path) -> None:
    for model in (installed.LAYOUT_MODEL, installed.TABLE_MODEL):
        (tmp_path / "hub" / f"models--{model.replace('/', '--')}" / "snapshots" / "abc").mkdir(parents=True)
    assert pdf_layout(config("auto")) == "models"


def test_auto_takes_rules_without_the_packages(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    assert pdf_layout(config("auto", models)) == "rules"
    with pytest.raises(MissingPrerequisiteError, match="pip install docling"):
        pdf_layout(config("models", models))


@pytest.mark.usefixtures("packages")
def test_models_asked_for_and_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="docling-tools models download"):
        pdf_layout(config("models", tmp_path))
    with pytest.raises(ModelNotFoundError, match="no such folder"):
        pdf_layout(config("rules", tmp_path / "nowhere"))


def test_rules_are_taken_when_asked_for(models: Path) -> None:
    assert pdf_layout(config("rules", models)) == "rules"


def test_names_of_the_models_are_docling_s() -> None:
    from docling.datamodel.pipeline_options import LayoutObjectDetectionOptions

    assert LayoutObjectDetectionOptions().model_spec.repo_id == installed.LAYOUT_MODEL
