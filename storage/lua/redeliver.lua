-- redeliver: a delivery is sent once more, now, under its id; its schedule begins anew.
-- KEYS delivery, the target's queue, targets, job, counters
-- ARGV id, target, now_ms, how long a pending delivery may stay (ms)
-- Returns its state before, or "missing"
local held = redis.call("HMGET", KEYS[1], "state", "sendings")
if not held[1] then return "missing" end
redis.call("HSET", KEYS[1], "state", "pending", "next_ms", ARGV[3], "before", held[2] or "0")
redis.call("HDEL", KEYS[1], "settled_ms")
redis.call("PEXPIRE", KEYS[1], ARGV[4], "GT")
redis.call("ZADD", KEYS[2], ARGV[3], ARGV[1])
redis.call("ZADD", KEYS[3], "LT", ARGV[3], ARGV[2])
if held[1] ~= "pending" then
  redis.call("HINCRBY", KEYS[5], "pending", 1)
  if redis.call("EXISTS", KEYS[4]) == 1 then
    redis.call("HINCRBY", KEYS[4], "hooks", 1)
    -- A retry has forgotten the failures before it.
    local failed = tonumber(redis.call("HGET", KEYS[4], "hooks_failed") or 0)
    if held[1] ~= "delivered" and failed > 0 then redis.call("HINCRBY", KEYS[4], "hooks_failed", -1) end
  end
end
return held[1]
