-- claim: a worker that holds the job's message may run it, under a new attempt token.
-- KEYS job, waiting, due, done channel, counters
-- ARGV id, now_ms, redelivered ("1"), batch size, device, losses allowed, error for too many losses (JSON),
--      holder: names this delivery, so that a claim whose answer was lost can be asked again
-- Returns {"run", token, failures so far} or {"missing"|"done"|"duplicate"|"early"|"expired"|"canceled"|"lost"}
local now = tonumber(ARGV[2])
local held = redis.call("HMGET", KEYS[1], "status", "start_by_ms", "not_before_ms", "cancel_requested", "losses", "queued_ms",
  "holder", "attempt", "failures")
local status = held[1]
if not status then return {"missing"} end
if status == "running" then
  if held[7] == ARGV[8] then return {"run", tonumber(held[8]), tonumber(held[9]) or 0} end
  if ARGV[3] ~= "1" then return {"duplicate"} end
  if held[4] == "1" then
    terminate(KEYS[1], ARGV[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], "canceled", now)
    return {"canceled"}
  end
  local losses = redis.call("HINCRBY", KEYS[1], "losses", 1)
  if losses > tonumber(ARGV[6]) then
    redis.call("HINCRBY", KEYS[1], "attempt", 1)
    redis.call("HSET", KEYS[1], "error", ARGV[7])
    terminate(KEYS[1], ARGV[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], "failed", now)
    return {"lost"}
  end
elseif status == "queued" then
  if (tonumber(held[3]) or 0) > 0 then return {"early"} end
  local start_by = tonumber(held[2]) or 0
  -- Once it has started it was in time, however often it runs again.
  if start_by > 0 and now > start_by and not held[8] then
    terminate(KEYS[1], ARGV[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], "expired", now)
    return {"expired"}
  end
  redis.call("ZREM", KEYS[2], ARGV[1])
  redis.call("ZREM", KEYS[3], "expire:" .. ARGV[1])
else
  return {"done"}
end
local token = redis.call("HINCRBY", KEYS[1], "attempt", 1)
redis.call("HSET", KEYS[1], "status", "running", "started_ms", ARGV[2], "batch_size", ARGV[4], "device", ARGV[5],
  "holder", ARGV[8], "queue_ms", now - (tonumber(held[6]) or now))
redis.call("PUBLISH", KEYS[4] .. ":moves", ARGV[1])
return {"run", token, tonumber(held[9]) or 0}
