"""Argo CD's health rule for LLMInferenceService, which it does not ship: without one a broken service is healthy."""

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
