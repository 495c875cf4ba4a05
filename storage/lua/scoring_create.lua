-- scoring_create: the record of an offline run comes into being, once.
-- KEYS scoring, tenant's scorings, waiting scorings, idempotency key ("" without), beginning of scorings' keys, driven
--      scorings
-- ARGV id, tenant, body digest, idempotency ttl (s), how many of the tenant's may be unfinished (0: any number), then
--      fields and values of the record
-- Returns {"created"|"exists"|"same"|"mismatch", id}, or {"quota", how many are unfinished}
if KEYS[4] ~= "" then
  local held = redis.call("HMGET", KEYS[4], "id", "body")
  if held[1] and redis.call("EXISTS", KEYS[5] .. held[1]) == 1 then
    return {held[2] == ARGV[3] and "same" or "mismatch", held[1]}
  end
end
if redis.call("EXISTS", KEYS[1]) == 1 then return {"exists", ARGV[1]} end
local most = tonumber(ARGV[5])
if most > 0 then
  -- The slash ends the tenant's name, and 0 comes right after it.
  local count = redis.call("ZLEXCOUNT", KEYS[3], "[" .. ARGV[2] .. "/", "(" .. ARGV[2] .. "0")
  for _, member in ipairs(redis.call("ZRANGE", KEYS[6], 0, -1)) do
    if string.sub(member, 1, #ARGV[2] + 1) == ARGV[2] .. "/" then count = count + 1 end
  end
  if count >= most then return {"quota", tostring(count)} end
end
redis.call("HSET", KEYS[1], unpack(ARGV, 6))
redis.call("ZADD", KEYS[2], 0, ARGV[1])
redis.call("ZADD", KEYS[3], 0, ARGV[2] .. "/" .. ARGV[1])
if KEYS[4] ~= "" then
  redis.call("HSET", KEYS[4], "id", ARGV[1], "body", ARGV[3])
  redis.call("EXPIRE", KEYS[4], ARGV[4])
end
return {"created", ARGV[1]}
