-- scoring_retry: a scoring that has ended waits to be driven once more, over the rows that failed.
-- KEYS scoring, waiting scorings, due, driven scorings
-- ARGV id, how many of the tenant's may be unfinished (0: any number)
-- Returns "queued", "missing", "none" where no row failed, "live" and the status of one that has not ended, or "quota"
-- and how many are unfinished
local held = redis.call("HMGET", KEYS[1], "status", "tenant", "erased", "failed", "total", "done", "unfinished", "error",
  "round")
local status = held[1]
if not status or held[3] then return "missing" end
if status ~= "completed" and status ~= "failed" and status ~= "canceled" then
  -- Asked again.
  if status == "queued" and held[9] ~= "1" then return "queued" end
  return "live " .. status
end
if (tonumber(held[4]) or 0) == 0 then return "none" end
local most = tonumber(ARGV[2])
if most > 0 then
  -- As scoring_create counts.
  local count = redis.call("ZLEXCOUNT", KEYS[2], "[" .. held[2] .. "/", "(" .. held[2] .. "0")
  for _, member in ipairs(redis.call("ZRANGE", KEYS[4], 0, -1)) do
    if string.sub(member, 1, #held[2] + 1) == held[2] .. "/" then count = count + 1 end
  end
  if count >= most then return "quota " .. count end
end
-- Rows that were never run stay so: what the first end was, the next will be.
if status ~= "completed" and not held[7] and (tonumber(held[6]) or 0) ~= (tonumber(held[5]) or -1) then
  redis.call("HSET", KEYS[1], "unfinished", status, "unfinished_error", held[8] or "")
end
-- What a webhook is yet to tell of stays as it was.
local number = redis.call("HGET", KEYS[1], "events")
if number and redis.call("ZSCORE", OUTBOX, "scoring.completed:" .. number .. ":" .. ARGV[1]) then
  redis.call("COPY", KEYS[1], KEYS[1] .. ":" .. number)
end
redis.call("HDEL", KEYS[1], "validating_ms", "running_ms", "merging_ms", "canceling_ms", "ended_ms", "expires_ms", "error",
  "verdict", "rate")
redis.call("HSET", KEYS[1], "status", "queued")
redis.call("HINCRBY", KEYS[1], "round", 1)
redis.call("ZREM", KEYS[3], "scoring:" .. ARGV[1])
redis.call("ZADD", KEYS[2], 0, held[2] .. "/" .. ARGV[1])
return "queued"
