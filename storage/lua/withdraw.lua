-- withdraw: the broker did not take the message and the client is told so; should the message have
-- arrived all the same, the worker finds this and drops it.
-- KEYS job, tenant's list, waiting, due, jobs in flight by tenant
-- ARGV id, seconds to remember
-- Returns "withdrawn", also where there was no record yet, or the status when a worker was faster (then the job
-- was accepted after all)
local held = redis.call("HMGET", KEYS[1], "status", "attempt", "confirmed", "tenant", "counted")
if held[1] == "queued" and not held[2] and not held[3] then
  if held[5] == "1" then redis.call("HINCRBY", KEYS[5], held[4], -1) end
  redis.call("HSET", KEYS[1], "status", "withdrawn", "counted", "0")
  redis.call("HDEL", KEYS[1], "message")
  redis.call("EXPIRE", KEYS[1], ARGV[2])
  redis.call("ZREM", KEYS[2], ARGV[1])
  redis.call("ZREM", KEYS[3], ARGV[1])
  redis.call("ZREM", KEYS[4], "expire:" .. ARGV[1])
  return "withdrawn"
end
if not held[1] then
  -- Its making may still be on the way here: then it must find that it comes too late.
  redis.call("HSET", KEYS[1], "status", "withdrawn")
  redis.call("EXPIRE", KEYS[1], ARGV[2])
  return "withdrawn"
end
return held[1]
