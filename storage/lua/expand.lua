-- expand: an event of the outbox becomes its deliveries, once.
-- KEYS outbox, targets, job, job's deliveries, job's record at that end, counters, then for each the delivery and its
--      target's queue
-- ARGV outbox member, job, now_ms, how long a delivery may stay (ms), deliveries kept of one job, prefix of deliveries'
--      keys, body, in MessagePack for each {id, target, fields and values …}
-- Returns 1, or 0 when it was expanded before
if redis.call("ZREM", KEYS[1], ARGV[1]) == 0 then return 0 end
local now, made = tonumber(ARGV[3]), 0
for index, one in ipairs(cmsgpack.unpack(ARGV[8])) do
  local key, queue, id, target = KEYS[5 + 2 * index], KEYS[6 + 2 * index], one[1], one[2]
  if redis.call("EXISTS", key) == 0 then
    redis.call("HSET", key, "job", ARGV[2], "target", target, "state", "pending", "created_ms", ARGV[3], "next_ms",
      ARGV[3], "body", ARGV[7], unpack(one, 3))
    redis.call("PEXPIRE", key, ARGV[4])
    redis.call("ZADD", queue, now, id)
    redis.call("ZADD", KEYS[2], "LT", now, target)
    redis.call("RPUSH", KEYS[4], id)
    made = made + 1
  end
end
if made > 0 then
  -- As long as the job, where that is longer: so are those of its earlier events.
  local stay = math.max(tonumber(ARGV[4]), tonumber(redis.call("HGET", KEYS[3], "expires_ms") or 0) - now)
  if redis.call("PTTL", KEYS[4]) < stay then redis.call("PEXPIRE", KEYS[4], stay) end
  for _, id in ipairs(redis.call("LRANGE", KEYS[4], 0, -1)) do redis.call("PEXPIRE", ARGV[6] .. id, stay, "GT") end
  redis.call("HINCRBY", KEYS[6], "pending", made)
end
while redis.call("LLEN", KEYS[4]) > tonumber(ARGV[5]) do
  local oldest = ARGV[6] .. redis.call("LINDEX", KEYS[4], 0)
  if redis.call("HGET", oldest, "state") == "pending" then break end
  redis.call("DEL", oldest)
  redis.call("LPOP", KEYS[4])
end
-- A job without a record has none to be noted in.
if redis.call("EXISTS", KEYS[3]) == 1 then redis.call("HINCRBY", KEYS[3], "hooks", made - 1) end
redis.call("DEL", KEYS[5])
return 1
