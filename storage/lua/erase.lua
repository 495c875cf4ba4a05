-- erase: inputs and outputs go, a tombstone stays. A queued job is canceled by it, a running one flagged.
-- KEYS job, waiting, due, done channel, counters, tenant's list, tenant's failed jobs
-- ARGV id, now_ms, reason ("deleted" | "expired"), seconds the tombstone stays, the message without what is erased
--      (stays where a webhook is yet to tell of the end)
-- Returns {status before, outputs key}, {"missing"}, or {"kept"} when its time has not come
local held = redis.call("HMGET", KEYS[1], "status", "outputs_key", "expires_ms", "result_ttl_s", "webhook")
if not held[1] then return {"missing"} end
local expires = tonumber(held[3]) or 0
local live = held[1] == "queued" or held[1] == "running"
if ARGV[3] == "expired" and (live or tonumber(ARGV[2]) < expires) then return {"kept"} end
if held[1] == "queued" then
  terminate(KEYS[1], ARGV[1], KEYS[2], KEYS[3], "canceled", tonumber(ARGV[2]), held[4], held[5])
  announce(KEYS[3], KEYS[4], KEYS[5])
elseif held[1] == "running" then
  redis.call("HSET", KEYS[1], "cancel_requested", "1")
end
local message = ""
if untold(KEYS[1], ARGV[1]) or held[1] == "running" and heard(KEYS[1], "job.completed", held[5]) then
  message = ARGV[5]
end
redis.call("HDEL", KEYS[1], "outputs", "outputs_key", "error", "history")
redis.call("HSET", KEYS[1], "erased", ARGV[3], "message", message)
-- When its time is over, the relay settles the entry itself, once the objects are gone as well.
if ARGV[3] ~= "expired" then redis.call("ZREM", KEYS[3], "erase:" .. ARGV[1]) end
redis.call("ZREM", KEYS[3], "retry:" .. ARGV[1])
redis.call("ZREM", KEYS[6], ARGV[1])
redis.call("ZREM", KEYS[7], ARGV[1])
redis.call("EXPIRE", KEYS[1], ARGV[4])
return {held[1], held[2] or ""}
