"""Deploy: render an adapter as a release that Argo CD and KServe can run, as files for a git repository."""

from pathlib import Path

import yaml

from tuning_room.deploy.config import DeployConfig
from tuning_room.deploy.manifests import Document, Documents, documents
from tuning_room.deploy.release import Release, read_release
from tuning_room.deploy.rules import violations
from tuning_room.deploy.texts import texts
from tuning_room.errors import StageError
from tuning_room.files import atomic_folder, of_a_run
from tuning_room.workspace import Stage, StageResult, Workspace

__all__ = ["STAGE", "DeployConfig", "DeployResult", "run"]


class DeployResult(StageResult):
    """What was rendered: the release's name, its files below the deploy folder, and where the adapter has to lie."""

    release: str
    files: list[str]
    adapter_uri: str


def run(config: DeployConfig, workspace: Workspace) -> DeployResult:
    """Render the adapter's release into the deploy folder, all or nothing.

    Raises StageError with every rule that the documents break, and what read_release raises.
    """
    release = read_release(config, workspace.adapter)
    rendered = documents(config, release)
    _refuse_violations(release, rendered)
    files = {path: _dump(document) for path, document in rendered.items()}
    files |= texts(config, release) | _card(workspace)
    with atomic_folder(workspace.deploy, of_a_run) as folder:
        _write(folder, files)
    return DeployResult(release=release.name, files=sorted(files), adapter_uri=release.adapter_uri)


def _refuse_violations(release: Release, rendered: Documents) -> None:
    problems = violations(rendered)
    if problems:
        raise StageError(
            f"release {release.name} cannot be deployed: {'; '.join(problems)}",
            hint="change the recipe's deploy section",
        )


def _card(workspace: Workspace) -> dict[str, str]:
    """Return the model card that a report has written, if there is one; a release does not wait for it."""
    card = workspace.model_card
    return {card.name: card.read_text(encoding="utf-8")} if card.is_file() else {}


class _Dumper(yaml.SafeDumper):
    """Writes a value that occurs twice twice: anchors make a diff hard to read."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _dump(document: Document) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _write(folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def _inputs(config: DeployConfig, workspace: Workspace) -> list[Path]:
    return [workspace.adapter, workspace.model_card]


def _outputs(workspace: Workspace) -> list[Path]:
    return [workspace.deploy]


STAGE = Stage(name="deploy", result=DeployResult, inputs=_inputs, outputs=_outputs, run=run)
