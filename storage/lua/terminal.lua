-- Shared by every script that ends a job (put in front of them): the record gets its terminal state,
-- leaves the lanes, is kept for its time, and whoever waits is told.
local TOMBSTONE_S = 604800
local function terminate(key, id, waiting, due, channel, counters, status, now)
  local ttl_s = tonumber(redis.call("HGET", key, "result_ttl_s")) or 0
  local expires = now + ttl_s * 1000
  redis.call("HSET", key, "status", status, "completed_ms", now, "expires_ms", expires)
  redis.call("ZREM", waiting, id)
  redis.call("ZREM", due, "expire:" .. id, "retry:" .. id)
  redis.call("ZADD", due, expires, "erase:" .. id)
  redis.call("EXPIRE", key, ttl_s + TOMBSTONE_S)
  redis.call("HINCRBY", counters, status, 1)
  redis.call("PUBLISH", channel, id)
end
