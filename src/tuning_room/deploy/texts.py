"""The texts of a release beside its manifests: its README.md, and the health rule that Argo CD does not ship."""

from tuning_room.deploy.argocd import project_name, revision
from tuning_room.deploy.config import DeployConfig
from tuning_room.deploy.manifests import file_name, max_rank
from tuning_room.deploy.release import Release

# Without it Argo CD calls a broken LLMInferenceService healthy.
HEALTH_RULE = """\
-- Health of serving.kserve.io/LLMInferenceService, from its condition Ready.
local health = { status = "Progressing", message = "waiting for KServe to report a status" }
local status = obj.status
if status == nil or status.conditions == nil then
  return health
end
local seen = status.observedGeneration
if seen ~= nil and obj.metadata.generation ~= nil and seen < obj.metadata.generation then
  health.message = "waiting for KServe to see the newest generation"
  return health
end
-- Reasons that do not pass by waiting; a workload that is still loading its model has another.
local final = { "Error$", "NotFound$", "Invalid", "Exceeded$", "Failed" }
for _, condition in ipairs(status.conditions) do
  if condition.type == "Ready" then
    local reason = condition.reason or ""
    health.message = condition.message or reason
    if condition.status == "True" then
      health.status = "Healthy"
    elseif reason == "Stopped" then
      health.status = "Suspended"
    elseif condition.status == "False" then
      for _, pattern in ipairs(final) do
        if string.find(reason, pattern) then
          health.status = "Degraded"
        end
      end
    end
  end
end
return health
"""
HEALTH_FILE = "health/LLMInferenceService/health.lua"
HEALTH_KEY = "resource.customizations.health.serving.kserve.io_LLMInferenceService"

TEMPLATE = """\
# Release {name}

Rendered by `tuning-room deploy render`; render again rather than edit.

| | |
| --- | --- |
| adapter | `{adapter_uri}`, sha256 `{digest}`, rank {rank}, served with at most {max_rank} |
| base model | `{base_model}` from `{base_uri}`, served as `{model_name}` |
| model name for clients | `{name}` |
| git | `{repo_url}` at `{revision}` |
| namespaces | test `{test}`, production `{prod}`; both have to exist |

## The files
| file | what it is |
| --- | --- |
| `project.yaml` | AppProject `{project}`: this repository, these two namespaces, KServe's model servers, nothing else |
| `appset-test.yaml`, `appset-prod.yaml` | an ApplicationSet per environment; it reads the environment's `config.yaml` |
| `application.yaml` | one Application of the test environment, instead of `appset-test.yaml`, not beside it |
| `{name}/test/serving/config.yaml`, `{name}/prod/serving/config.yaml` | what the ApplicationSets fill in |
| `{name}/base/{server}` | the model server |
| `{name}/overlays/test`, `{name}/overlays/prod` | namespace, label and replicas of an environment |
{health_row}
## How it is used
1. Copy the adapter's folder to `{adapter_uri}`, and have the base model at `{base_uri}`. If there is a `model_card.md`
   here, put it there as `README.md`: it says what the evaluation found.
2. Commit this folder's content at the root of `{repo_url}` and name the commit: `{revision}`.
3. Apply `project.yaml`, then `appset-test.yaml`. Apply `appset-prod.yaml` when the release has proved itself there.
{health_step}
Nothing here follows a branch. The next release's folder stands beside this one's; production moves when that
release's `appset-prod.yaml` is applied, and goes back when this one is applied again. Argo CD keeps the Application and
prunes the old model server after the new one is healthy. Clients name the release in `model`, so they know which one
answers.

## What was checked, and what only a cluster can show
Before these files were written: the adapter's place and name, its rank against the server's bound, its base model
against the served one, images by digest, revisions that cannot move, server-side apply, the project's bounds, and that
every file which another one names is there.

Only a cluster can show that KServe's controller and webhooks accept the model server, that it is scheduled, that model
and images can be pulled, that the gateway routes to it, and that the adapter takes effect: by the probes in the
adapter's folder, `tuning-room serve RECIPE --prove --address URL` finds that out of a replica. A `hf://`, `s3://` or
`pvc://` address can change its content: compare the adapter there with the sha256 above.
"""

HEALTH_ROW = "| `{file}` | the health rule that Argo CD lacks for this kind |\n"
HEALTH_STEP = """\
4. Put `health.lua` into Argo CD's settings (ConfigMap `argocd-cm`, key
   `{key}`).
   Without it a broken service counts as healthy. A server that keeps restarting stays in progress, as does one that
   loads: KServe gives both the same reason.
"""


def texts(config: DeployConfig, release: Release) -> dict[str, str]:
    """Return a release's texts by their paths in the folder."""
    found = {"README.md": _readme(config, release)}
    return {**found, HEALTH_FILE: HEALTH_RULE} if config.kind == "llm" else found


def _readme(config: DeployConfig, release: Release) -> str:
    llm = config.kind == "llm"
    return TEMPLATE.format(
        **release._asdict(),
        max_rank=max_rank(release.rank),
        repo_url=config.repo_url,
        revision=revision(config, release),
        test=config.test_namespace,
        prod=config.prod_namespace,
        project=project_name(config),
        server=file_name(config),
        health_row=HEALTH_ROW.format(file=HEALTH_FILE) if llm else "",
        health_step=HEALTH_STEP.format(key=HEALTH_KEY) if llm else "",
    )
