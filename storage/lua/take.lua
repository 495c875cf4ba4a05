-- take: a sender leases what is due first for a target, unless enough is being sent there, or for its tenant.
-- KEYS the target's queue, what is being sent there, what is being sent for the tenant, the target's condition
-- ARGV now_ms, lease (ms), prefix of deliveries' keys, most at once to a target that is failing, that is new, that is
--      well, and for the tenant, note of a sending that has begun (JSON)
-- Returns {id, number of the sending, the delivery's fields and values}, or nil
local now = tonumber(ARGV[1])
redis.call("ZREMRANGEBYSCORE", KEYS[2], "-inf", now)
redis.call("ZREMRANGEBYSCORE", KEYS[3], "-inf", now)
local condition = redis.call("HMGET", KEYS[4], "failing_ms", "good_ms")
local limit = tonumber(condition[1] and ARGV[4] or condition[2] and ARGV[6] or ARGV[5])
if redis.call("ZCARD", KEYS[2]) >= limit or redis.call("ZCARD", KEYS[3]) >= tonumber(ARGV[7]) then return nil end
while true do
  local id = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", now, "LIMIT", 0, 1)[1]
  if not id then return nil end
  local key = ARGV[3] .. id
  if redis.call("HGET", key, "state") == "pending" then
    local until_ms = now + tonumber(ARGV[2])
    redis.call("ZADD", KEYS[1], until_ms, id)
    redis.call("ZADD", KEYS[2], until_ms, id)
    redis.call("ZADD", KEYS[3], until_ms, id)
    local number = redis.call("HINCRBY", key, "sendings", 1)
    redis.call("HSET", key, "attempt:" .. number, ARGV[8])
    return {id, number, redis.call("HGETALL", key)}
  end
  redis.call("ZREM", KEYS[1], id)
end
