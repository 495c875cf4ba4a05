-- cancel: a queued job ends at once, a running one is flagged; whoever commits it next sees the flag.
-- KEYS job, waiting, due, done channel, counters
-- ARGV id, now_ms
-- Returns the status after the call, or "missing"
local held = redis.call("HMGET", KEYS[1], "status", "result_ttl_s", "webhook")
local status = held[1]
if not status then return "missing" end
if status == "queued" then
  terminate(KEYS[1], ARGV[1], KEYS[2], KEYS[3], "canceled", tonumber(ARGV[2]), held[2], held[3])
  announce(KEYS[3], KEYS[4], KEYS[5])
  return "canceled"
end
if status == "running" then redis.call("HSET", KEYS[1], "cancel_requested", "1") end
return status
