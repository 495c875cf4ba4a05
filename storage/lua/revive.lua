-- revive: a running job whose worker died, and whose message is in nobody's hands, goes back to the queue; one that was
-- canceled or erased ends.
-- KEYS job, due, done channel, counters
-- ARGV id, now_ms, holder that was found to be gone
-- Returns {queue, message} of one to be published, or nil
local held = redis.call("HMGET", KEYS[1], "status", "holder", "queue", "message", "batch_size", "cancel_requested",
  "result_ttl_s", "webhook")
if held[1] ~= "running" or held[2] ~= ARGV[3] then return nil end
redis.call("HINCRBY", KEYS[1], "losses", 1)
redis.call("HINCRBY", KEYS[4], "worker_losses", 1)
if held[6] == "1" or (held[4] or "") == "" then
  terminate(KEYS[1], ARGV[1], WAITING .. held[3], KEYS[2], "canceled", tonumber(ARGV[2]), held[7], held[8], true)
  announce(KEYS[2], KEYS[3], KEYS[4])
  return nil
end
if held[5] == "1" then redis.call("HINCRBY", KEYS[1], "lone_losses", 1) end
redis.call("HSET", KEYS[1], "status", "queued", "queued_ms", ARGV[2], "not_before_ms", "0")
redis.call("ZADD", WAITING .. held[3], ARGV[2], ARGV[1])
return {held[3], held[4]}
