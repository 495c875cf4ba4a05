-- scoring_cancel: one that nobody drives yet ends at once; the driver of another begins nothing new, and ends it.
-- KEYS scoring, waiting scorings, driven scorings, due, channel that wakes its driver
-- ARGV id, now_ms
-- Returns the status after the call, or "missing"
local held = redis.call("HMGET", KEYS[1], "status", "tenant", "erased")
local status = held[1]
if not status or held[3] then return "missing" end
if status ~= "queued" and status ~= "validating" and status ~= "running" then return status end
if redis.call("ZREM", KEYS[2], held[2] .. "/" .. ARGV[1]) == 1 then
  conclude(KEYS[1], ARGV[1], KEYS[3], KEYS[4], "canceled", tonumber(ARGV[2]))
  return "canceled"
end
redis.call("HSET", KEYS[1], "status", "canceling", "canceling_ms", ARGV[2])
redis.call("PUBLISH", KEYS[5], ARGV[1])
return "canceling"
