-- Shared by every script that ends jobs (put in front of them, with keys named in capitals): `terminate` gives a record
-- its terminal state and takes it out of the lanes; `announce`, once at the end, sees to its erasure, counts, and tells
-- whoever waits.
local TOMBSTONE_S = 604800
local ended, erasures, counts, landed = {}, {}, {}, {}
local subscribers, subscribed = nil, {}
-- Whether somebody is to hear of an event: by the events that the job's own webhook wants (nil without one), or because
-- its tenant has an endpoint for it. Where no tenant of the farm has one, a script asks that once.
local function heard(key, event, wanted)
  if wanted and string.find(wanted, event, 1, true) then return true end
  if subscribers == nil then subscribers = redis.call("EXISTS", SUBSCRIBERS) == 1 end
  if not subscribers then return false end
  local own = redis.call("HMGET", key, "tenant", "scoring")
  if own[2] then return false end
  local tenant = own[1] or ""
  if subscribed[tenant] == nil then subscribed[tenant] = redis.call("HGET", SUBSCRIBERS, tenant) or "" end
  return string.find(subscribed[tenant], event, 1, true) ~= nil
end
-- What somebody is to hear comes into the outbox with the move itself: no crash comes between.
local function emit(key, id, event, wanted, now)
  if not heard(key, event, wanted) then return end
  redis.call("HINCRBY", key, "hooks", 1)
  redis.call("ZADD", OUTBOX, now, event .. ":" .. redis.call("HINCRBY", key, "events", 1) .. ":" .. id)
end
-- The number of the job's newest end, while that stands in the outbox still.
local function untold(key, id)
  local number = redis.call("HGET", key, "events")
  return number and redis.call("ZSCORE", OUTBOX, "job.completed:" .. number .. ":" .. id) and number
end
local SHARD_S = 86400
-- The end of a shard's job is told to its scoring, and to nobody else.
local function terminate_shard(key, id, scoring, waiting, due, status, now, ran, ...)
  redis.call("HSET", key, "status", status, "completed_ms", now, ...)
  redis.call("EXPIRE", key, SHARD_S)
  if not ran then
    redis.call("ZREM", waiting, id)
    redis.call("ZREM", due, "retry:" .. id)
  end
  local ended = SCORING .. scoring .. ":ended"
  if redis.call("HEXISTS", SCORING .. scoring, "ended_ms") == 0 and redis.call("EXISTS", SCORING .. scoring) == 1 then
    redis.call("SADD", ended, id)
    redis.call("PUBLISH", ended, id)
  end
end
-- `wanted`: the events of the job's own webhook. `ran`: it was running, so that it stands neither among the waiting nor
-- in the due set. `...`: further fields to set.
local function terminate(key, id, waiting, due, status, now, ttl_s, wanted, ran, ...)
  ttl_s = tonumber(ttl_s) or 86400
  local expires = now + ttl_s * 1000
  local own = redis.call("HMGET", key, "tenant", "counted", "scoring")
  if own[3] then return terminate_shard(key, id, own[3], waiting, due, status, now, ran, ...) end
  redis.call("HSET", key, "status", status, "completed_ms", now, "expires_ms", expires, "counted", "0", ...)
  redis.call("EXPIRE", key, ttl_s + TOMBSTONE_S)
  if not ran then
    redis.call("ZREM", waiting, id)
    redis.call("ZREM", due, "expire:" .. id, "retry:" .. id)
  end
  if status == "failed" and own[1] then redis.call("ZADD", FAILED .. own[1], now, id) end
  -- A record from before there were counters was never counted.
  if own[2] == "1" then landed[own[1]] = (landed[own[1]] or 0) - 1 end
  ended[#ended + 1] = id
  erasures[#erasures + 1] = expires
  erasures[#erasures + 1] = "erase:" .. id
  counts[status] = (counts[status] or 0) + 1
  emit(key, id, "job.completed", wanted, now)
end
local function announce(due, channel, counters)
  if #ended == 0 then return end
  redis.call("ZADD", due, unpack(erasures))
  for status, count in pairs(counts) do redis.call("HINCRBY", counters, status, count) end
  for tenant, change in pairs(landed) do redis.call("HINCRBY", IN_FLIGHT, tenant, change) end
  redis.call("PUBLISH", channel, table.concat(ended, " "))
end
local SCORING_TIDY_MS = 60000
-- What an erased scoring leaves: enough to answer that it is gone. The relay erases its objects.
local function entomb(key, id, due, now)
  local remains = redis.call("HGET", key, "remains")
  redis.call("HSET", key, "spec", remains)
  redis.call("HDEL", key, "remains", "error", "estimate", "output_key", "errors_key", "unfinished_error")
  redis.call("DEL", key .. ":shards", key .. ":folded", key .. ":ended")
  redis.call("EXPIRE", key, TOMBSTONE_S)
  redis.call("ZADD", due, now, "scoring:" .. id)
end
-- A scoring reaches its end. What dead attempts left is erased a while later (tasks/relay.py).
local function conclude(key, id, driven, due, status, now)
  local held = redis.call("HMGET", key, "tenant", "result_ttl_s", "erased", "webhook")
  redis.call("HSET", key, "status", status, "ended_ms", now, "expires_ms", now + tonumber(held[2]) * 1000)
  redis.call("ZREM", driven, held[1] .. "/" .. id)
  redis.call("DEL", key .. ":shards", key .. ":folded", key .. ":ended")
  if held[3] then
    entomb(key, id, due, now)
  else
    redis.call("ZADD", due, now + SCORING_TIDY_MS, "scoring:" .. id)
    emit(key, id, "scoring.completed", held[4], now)
  end
end
