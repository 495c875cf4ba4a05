-- requeue: the holder of the newest token gives the job back, to run at once (its message returns to
-- the broker) or at not_before (the relay publishes it then).
-- KEYS job, waiting, due, done channel, counters
-- ARGV id, now_ms, token, not_before_ms (0: at once), failures to add, interruptions to add
-- Returns "queued", "canceled" when a cancel was asked for meanwhile, or "stale"
local held = redis.call("HMGET", KEYS[1], "status", "attempt", "cancel_requested", "result_ttl_s", "webhook")
if held[1] == "queued" and held[2] == ARGV[3] then return "queued" end  -- asked again
if held[1] ~= "running" or held[2] ~= ARGV[3] then return "stale" end
for index, field in pairs({[5] = "failures", [6] = "interruptions"}) do
  if ARGV[index] ~= "0" then
    redis.call("HINCRBY", KEYS[1], field, ARGV[index])
    redis.call("HINCRBY", KEYS[5], field, ARGV[index])
  end
end
if held[3] == "1" then
  terminate(KEYS[1], ARGV[1], KEYS[2], KEYS[3], "canceled", tonumber(ARGV[2]), held[4], held[5], true)
  announce(KEYS[3], KEYS[4], KEYS[5])
  return "canceled"
end
redis.call("HSET", KEYS[1], "status", "queued", "queued_ms", ARGV[2], "not_before_ms", ARGV[4])
-- Its place among those that wait is that of its message.
redis.call("ZADD", KEYS[2], math.max(tonumber(ARGV[2]), tonumber(ARGV[4])), ARGV[1])
if ARGV[4] ~= "0" then redis.call("ZADD", KEYS[3], ARGV[4], "retry:" .. ARGV[1]) end
redis.call("PUBLISH", KEYS[4] .. ":moves", ARGV[1])
return "queued"
