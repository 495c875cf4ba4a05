-- Shared by every script that ends jobs (put in front of them): `terminate` gives a record its terminal state and
-- takes it out of the lanes; `announce`, once at the end, sees to its erasure, counts, and tells whoever waits.
local TOMBSTONE_S = 604800
local ended, erasures, counts = {}, {}, {}
-- `ran`: it was running, so that it stands neither among the waiting nor in the due set. `...`: further fields to set.
local function terminate(key, id, waiting, due, status, now, ttl_s, ran, ...)
  ttl_s = tonumber(ttl_s) or 86400
  local expires = now + ttl_s * 1000
  redis.call("HSET", key, "status", status, "completed_ms", now, "expires_ms", expires, ...)
  redis.call("EXPIRE", key, ttl_s + TOMBSTONE_S)
  if not ran then
    redis.call("ZREM", waiting, id)
    redis.call("ZREM", due, "expire:" .. id, "retry:" .. id)
  end
  ended[#ended + 1] = id
  erasures[#erasures + 1] = expires
  erasures[#erasures + 1] = "erase:" .. id
  counts[status] = (counts[status] or 0) + 1
end
local function announce(due, channel, counters)
  if #ended == 0 then return end
  redis.call("ZADD", due, unpack(erasures))
  for status, count in pairs(counts) do redis.call("HINCRBY", counters, status, count) end
  redis.call("PUBLISH", channel, table.concat(ended, " "))
end
