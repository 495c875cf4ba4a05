-- scoring_create: the record of an offline run comes into being, once.
-- KEYS scoring, tenant's scorings, waiting scorings, idempotency key ("" without), beginning of scorings' keys
-- ARGV id, tenant, body digest, idempotency ttl (s), then fields and values of the record
-- Returns {"created"|"exists"|"same"|"mismatch", id}
if KEYS[4] ~= "" then
  local held = redis.call("HMGET", KEYS[4], "id", "body")
  if held[1] and redis.call("EXISTS", KEYS[5] .. held[1]) == 1 then
    return {held[2] == ARGV[3] and "same" or "mismatch", held[1]}
  end
end
if redis.call("EXISTS", KEYS[1]) == 1 then return {"exists", ARGV[1]} end
redis.call("HSET", KEYS[1], unpack(ARGV, 5))
redis.call("ZADD", KEYS[2], 0, ARGV[1])
redis.call("ZADD", KEYS[3], 0, ARGV[2] .. "/" .. ARGV[1])
if KEYS[4] ~= "" then
  redis.call("HSET", KEYS[4], "id", ARGV[1], "body", ARGV[3])
  redis.call("EXPIRE", KEYS[4], ARGV[4])
end
return {"created", ARGV[1]}
