-- fail: a job ends that nothing can run any more: its message was given up by the broker, or nobody can read it.
-- KEYS job, waiting, due, done channel, counters
-- ARGV id, now_ms, error (JSON), "1" where a running one ends as well
-- Returns the status after the call, or "missing"
local held = redis.call("HMGET", KEYS[1], "status", "result_ttl_s", "webhook")
local status = held[1]
if not status then return "missing" end
if status == "queued" or (status == "running" and ARGV[4] == "1") then
  terminate(KEYS[1], ARGV[1], KEYS[2], KEYS[3], "failed", tonumber(ARGV[2]), held[2], held[3], status == "running",
    "error", ARGV[3])
  announce(KEYS[3], KEYS[4], KEYS[5])
  return "failed"
end
return status
