-- expire: a queued job whose time to start has passed ends.
-- KEYS job, waiting, due, done channel, counters
-- ARGV id, now_ms
-- Returns the status after the call, or "missing"
local held = redis.call("HMGET", KEYS[1], "status", "start_by_ms", "result_ttl_s", "webhook")
local start_by = tonumber(held[2]) or 0
if held[1] == "queued" and tonumber(ARGV[2]) < start_by then return "queued" end
redis.call("ZREM", KEYS[3], "expire:" .. ARGV[1])
if not held[1] then return "missing" end
if held[1] == "queued" and start_by > 0 then
  terminate(KEYS[1], ARGV[1], KEYS[2], KEYS[3], "expired", tonumber(ARGV[2]), held[3], held[4])
  announce(KEYS[3], KEYS[4], KEYS[5])
  return "expired"
end
return held[1]
