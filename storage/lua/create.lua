-- create: a job's record comes into being, once.
-- KEYS job, tenant's list, waiting, due, idempotency key ("" without), set of queues
-- ARGV id, tenant, queue, message, created_ms, start_by_ms, result_ttl_s, queue limit (0: none),
--      body digest, idempotency ttl (s)
-- Returns {"created"|"full", jobs in the lane} or {"exists"|"same"|"mismatch", id}
local id = ARGV[1]
if KEYS[5] ~= "" then
  local held = redis.call("HMGET", KEYS[5], "id", "body")
  if held[1] then
    local other = string.sub(KEYS[1], 1, #KEYS[1] - #id) .. held[1]
    local status = redis.call("HGET", other, "status")
    if status and status ~= "withdrawn" then
      if held[2] ~= ARGV[9] then return {"mismatch", held[1]} end
      return {"same", held[1]}
    end
  end
end
if redis.call("EXISTS", KEYS[1]) == 1 then return {"exists", id} end
local limit = tonumber(ARGV[8])
if limit > 0 then
  local depth = redis.call("ZCARD", KEYS[3])
  if depth >= limit then return {"full", tostring(depth)} end
end
local fields = {"tenant", ARGV[2], "queue", ARGV[3], "status", "queued", "message", ARGV[4], "created_ms", ARGV[5]}
-- What most jobs have alike is left out: a million of them wait in memory.
if ARGV[6] ~= "0" then fields[11], fields[12] = "start_by_ms", ARGV[6] end
if ARGV[7] ~= "86400" then fields[#fields + 1], fields[#fields + 2] = "result_ttl_s", ARGV[7] end
redis.call("HSET", KEYS[1], unpack(fields))
redis.call("SADD", KEYS[6], ARGV[3])
redis.call("ZADD", KEYS[2], 0, id)
redis.call("ZADD", KEYS[3], ARGV[5], id)
if tonumber(ARGV[6]) > 0 then redis.call("ZADD", KEYS[4], ARGV[6], "expire:" .. id) end
if KEYS[5] ~= "" then
  redis.call("HSET", KEYS[5], "id", id, "body", ARGV[9])
  redis.call("EXPIRE", KEYS[5], ARGV[10])
end
return {"created", tostring(redis.call("ZCARD", KEYS[3]))}
