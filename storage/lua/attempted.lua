-- attempted: what came of one sending.
-- KEYS delivery, the target's queue, what is being sent there, what is being sent for the tenant, the target's
--      condition, targets, job, counters
-- ARGV id, target, now_ms, number of the sending, its record (JSON), outcome ("delivered" | "failed" | "gone" |
--      "dropped": nothing was sent), when to send again (ms, 0: never), latency (ms), how long a settled delivery may
--      stay (ms), how long a pending one may, sendings remembered
-- Returns {the delivery's state now, since when the target has failed (ms, 0: it has not)}
local now, outcome = tonumber(ARGV[3]), ARGV[6]
redis.call("ZREM", KEYS[3], ARGV[1])
redis.call("ZREM", KEYS[4], ARGV[1])
if outcome == "delivered" then
  redis.call("HDEL", KEYS[5], "failing_ms")
  redis.call("HSET", KEYS[5], "good_ms", now)
elseif outcome ~= "dropped" then
  redis.call("HSETNX", KEYS[5], "failing_ms", now)
end
redis.call("PEXPIRE", KEYS[5], ARGV[10])
local failing = tonumber(redis.call("HGET", KEYS[5], "failing_ms") or 0)
local held = redis.call("HMGET", KEYS[1], "state", "sendings")
if not held[1] then return {"missing", failing} end
redis.call("HSET", KEYS[1], "attempt:" .. ARGV[4], ARGV[5])
redis.call("HDEL", KEYS[1], "attempt:" .. (tonumber(ARGV[4]) - tonumber(ARGV[11])))
if outcome ~= "dropped" then
  redis.call("HINCRBY", KEYS[8], outcome == "delivered" and "attempts:good" or "attempts:bad", 1)
  redis.call("HINCRBYFLOAT", KEYS[8], "latency_ms", ARGV[8])
end
-- One that was given up, and of which it is now told that it had arrived, did arrive.
local settled = held[1] ~= "pending"
if settled and (outcome ~= "delivered" or held[1] == "delivered") then return {held[1], failing} end
local state = outcome
if outcome == "gone" or outcome == "dropped" then state = "disabled" end
if outcome == "failed" then
  -- Another took it over meanwhile: what comes next is that one's to say.
  if held[2] ~= ARGV[4] then return {"pending", failing} end
  if ARGV[7] ~= "0" then
    redis.call("HSET", KEYS[1], "next_ms", ARGV[7])
    redis.call("PEXPIRE", KEYS[1], ARGV[10], "GT")
    redis.call("ZADD", KEYS[2], ARGV[7], ARGV[1])
    redis.call("ZADD", KEYS[6], "LT", ARGV[7], ARGV[2])
    return {"pending", failing}
  end
  state = "exhausted"
end
redis.call("HSET", KEYS[1], "state", state, "settled_ms", now)
redis.call("HDEL", KEYS[1], "next_ms")
redis.call("ZREM", KEYS[2], ARGV[1])
redis.call("HINCRBY", KEYS[8], state, 1)
if not settled then redis.call("HINCRBY", KEYS[8], "pending", -1) end
local expires = tonumber(redis.call("HGET", KEYS[7], "expires_ms") or 0)
redis.call("PEXPIRE", KEYS[1], math.max(expires - now, tonumber(ARGV[9])))
if redis.call("EXISTS", KEYS[7]) == 1 then
  if not settled then redis.call("HINCRBY", KEYS[7], "hooks", -1) end
  local failed = (state ~= "delivered" and 1 or 0) - (settled and 1 or 0)
  -- A retry has forgotten the failures before it.
  local before = tonumber(redis.call("HGET", KEYS[7], "hooks_failed") or 0)
  if before + failed >= 0 and failed ~= 0 then redis.call("HINCRBY", KEYS[7], "hooks_failed", failed) end
end
return {state, failing}
