-- release: the relay is about to publish a retry that is due; from now on a claim may take it.
-- KEYS job
-- Returns {queue, message}, or nil when the job no longer waits
local held = redis.call("HMGET", KEYS[1], "status", "queue", "message")
if held[1] ~= "queued" then return nil end
redis.call("HSET", KEYS[1], "not_before_ms", "0")
return {held[2], held[3]}
