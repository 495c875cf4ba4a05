-- finish: the holder of the newest token commits the outcome, once.
-- KEYS job, waiting, due, done channel, counters
-- ARGV id, now_ms, token, status, outputs (JSON), outputs key, error (JSON), compute_ms, failures to add, losses to add
-- Returns the status committed, or "stale" when another attempt holds the job
local held = redis.call("HMGET", KEYS[1], "status", "attempt", "cancel_requested")
if held[2] == ARGV[3] and held[1] ~= "running" and held[1] ~= "queued" then
  return held[1]  -- this very commit, asked again because its answer was lost
end
if held[1] ~= "running" or held[2] ~= ARGV[3] then
  redis.call("HINCRBY", KEYS[5], "stale_commits", 1)
  return "stale"
end
local status = ARGV[4]
if held[3] == "1" then
  status = "canceled"
elseif status == "succeeded" then
  if ARGV[6] ~= "" then
    redis.call("HSET", KEYS[1], "outputs_key", ARGV[6])
  else
    redis.call("HSET", KEYS[1], "outputs", ARGV[5])
  end
else
  redis.call("HSET", KEYS[1], "error", ARGV[7])
end
redis.call("HSET", KEYS[1], "compute_ms", ARGV[8])
if ARGV[9] ~= "0" then redis.call("HINCRBY", KEYS[1], "failures", ARGV[9]) end
if ARGV[10] ~= "0" then redis.call("HINCRBY", KEYS[1], "losses", ARGV[10]) end
terminate(KEYS[1], ARGV[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], status, tonumber(ARGV[2]))
return status
