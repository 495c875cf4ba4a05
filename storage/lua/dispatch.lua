-- dispatch: how many senders a target needs, and when to look at it again.
-- KEYS targets, the target's queue, what is being sent there
-- ARGV target, now_ms, most at once, after how many ms to look again
local now = tonumber(ARGV[2])
redis.call("ZREMRANGEBYSCORE", KEYS[3], "-inf", now)
local due = redis.call("ZCOUNT", KEYS[2], "-inf", now)
if due > 0 then
  redis.call("ZADD", KEYS[1], now + tonumber(ARGV[4]), ARGV[1])
  return math.max(0, math.min(due, tonumber(ARGV[3]) - redis.call("ZCARD", KEYS[3])))
end
local first = redis.call("ZRANGE", KEYS[2], 0, 0, "WITHSCORES")
if first[2] then
  redis.call("ZADD", KEYS[1], first[2], ARGV[1])
else
  redis.call("ZREM", KEYS[1], ARGV[1])
end
return 0
