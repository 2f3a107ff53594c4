-- The health of a Stack, a Store or a ClusterStore in the eyes of Argo CD. Catalogs have no status and need no script.

-- What is not there yet, or passes by itself: another object, a value or a right may come in a moment, or in the next wave.
-- Whatever else is in the way of Ready is there and wrong, and a person must put it right.
local waits_for = {
  BackendNotFound = true,
  BaseNotFound = true,
  CatalogNotFound = true,
  GrantMissing = true,
  NamespaceNotAllowed = true, -- said of an absent ClusterStore, too
  PathNotFound = true,
  PendingDeletion = true,
  SourceNotFound = true,
  Throttled = true,
  Timeout = true,
  Unreachable = true,
  ValueMissing = true,
  VersionMissing = true,
}

local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not looked at this version yet"}
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function health(word, condition)
  return {status = word, message = condition.reason .. ": " .. condition.message}
end

local suspended, stalled, ready = conditions.Suspended, conditions.Stalled, conditions.Ready
if suspended and suspended.status == "True" then
  return health("Suspended", suspended)
end
if stalled and stalled.status == "True" then
  return health("Degraded", stalled)
end
if not ready then
  return {status = "Progressing", message = "the operator has not said yet whether it is ready"}
end
if ready.status == "True" then
  return health("Healthy", ready)
end
if ready.status == "False" and not waits_for[ready.reason] then
  return health("Degraded", ready)
end
return health("Progressing", ready)
