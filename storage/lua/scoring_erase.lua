-- scoring_erase: nobody is to see it any more; a tombstone stays, and the relay erases its objects. One that is driven is
-- canceled by it.
-- KEYS scoring, waiting scorings, driven scorings, due, channel that wakes its driver, tenant's scorings
-- ARGV id, now_ms, reason ("deleted" | "expired"), what of its request stays (JSON)
-- Returns "erased", "missing", or "kept" when its time has not come
local held = redis.call("HMGET", KEYS[1], "status", "tenant", "erased", "expires_ms")
local status = held[1]
if not status then return "missing" end
if held[3] then return "erased" end
local ended = status == "completed" or status == "failed" or status == "canceled"
if ARGV[3] == "expired" and (not ended or tonumber(ARGV[2]) < tonumber(held[4])) then return "kept" end
redis.call("HSET", KEYS[1], "erased", ARGV[3], "remains", ARGV[4])
redis.call("ZREM", KEYS[6], ARGV[1])
if ended then
  entomb(KEYS[1], ARGV[1], KEYS[4], tonumber(ARGV[2]))
elseif redis.call("ZREM", KEYS[2], held[2] .. "/" .. ARGV[1]) == 1 then
  conclude(KEYS[1], ARGV[1], KEYS[3], KEYS[4], "canceled", tonumber(ARGV[2]))
elseif status ~= "canceling" then
  redis.call("HSET", KEYS[1], "status", "canceling", "canceling_ms", ARGV[2])
  redis.call("PUBLISH", KEYS[5], ARGV[1])
end
return "erased"
