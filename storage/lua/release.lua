-- release: a waiting job's message is about to be published; from now on a claim may take it.
-- KEYS job
-- ARGV id, now_ms
-- Returns {queue, message}, or nil when the job no longer waits
local held = redis.call("HMGET", KEYS[1], "status", "queue", "message")
if held[1] ~= "queued" then return nil end
redis.call("HSET", KEYS[1], "not_before_ms", "0")
-- Its place among those that wait is that of its message.
redis.call("ZADD", WAITING .. held[2], "XX", ARGV[2], ARGV[1])
return {held[2], held[3]}
