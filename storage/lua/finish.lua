-- finish: the holders of the newest tokens commit the outcomes of one lane's jobs, each once.
-- KEYS waiting, due, done channel, counters, then the job of each
-- ARGV now_ms, in MessagePack for each job {id, token, status, outputs key, compute_ms, failures to add},
--      then the outputs or the error of each (JSON)
-- Returns in MessagePack for each the status committed, or "stale" when another attempt holds the job
-- When a job that was taken over is looked at for outputs of the attempts before, milliseconds from its end.
local TIDY_MS = 5000
local now = tonumber(ARGV[1])
local function finish(key, one, text)
  local held = redis.call("HMGET", key, "status", "attempt", "cancel_requested", "result_ttl_s", "webhook")
  local status, token = held[1], tonumber(held[2])
  if token == one[2] and status ~= "running" and status ~= "queued" then
    return status  -- this very commit, asked again because its answer was lost
  end
  if status ~= "running" or token ~= one[2] then
    redis.call("HINCRBY", KEYS[4], "stale_commits", 1)
    return "stale"
  end
  local field, value = "error", text
  status = one[3]
  if held[3] == "1" then
    status, field, value = "canceled", "cancel_requested", "1"
  elseif status == "succeeded" then
    if one[4] ~= "" then field, value = "outputs_key", one[4] else field = "outputs" end
  end
  if one[6] ~= 0 then
    redis.call("HINCRBY", key, "failures", one[6])
    redis.call("HINCRBY", KEYS[4], "failures", one[6])
  end
  if token > 1 then
    local odd = redis.call("HMGET", key, "losses", "interruptions")
    if odd[1] or odd[2] then redis.call("ZADD", KEYS[2], now + TIDY_MS, "tidy:" .. one[1]) end
  end
  terminate(key, one[1], KEYS[1], KEYS[2], status, now, held[4], held[5], true, field, value, "compute_ms",
    string.format("%.3f", one[5]))
  return status
end
local answers = {}
for index, one in ipairs(cmsgpack.unpack(ARGV[2])) do
  answers[index] = finish(KEYS[4 + index], one, ARGV[2 + index])
end
announce(KEYS[2], KEYS[3], KEYS[4])
return cmsgpack.pack(answers)
