-- create: records of jobs of one tenant and one lane come into being, each once.
-- KEYS tenant's list, waiting, due, set of queues, jobs in flight by tenant, then the job of each, then the
--      idempotency key of each ("" without)
-- ARGV tenant, queue, queue limit (0: none), limit of the tenant's jobs in flight (0: none), idempotency ttl (s),
--      in MessagePack for each job {id, created_ms, start_by_ms, result_ttl_s, body digest,
--      events of its webhook, scoring whose shard it is, who hears of its end over the broker}, then the message of
--      each
-- Returns in MessagePack for each {"created"|"full", jobs in the lane}, {"quota", jobs in flight} or
--      {"exists"|"same"|"mismatch", id}
-- How long the message of a shard that nobody waits for is dropped without a question, seconds.
local UNWANTED_S = 60
local tenant, queue, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local most_flights = tonumber(ARGV[4])
local rows = cmsgpack.unpack(ARGV[6])
local depth = redis.call("ZCARD", KEYS[2])
local before = depth
local flights = most_flights > 0 and tonumber(redis.call("HGET", KEYS[5], tenant) or 0) or 0
local counted = 0
-- A shard's job stands in no list, and counts for no limit; only one that its scoring waits for comes into being.
local function create_shard(key, one, message)
  local id, scoring = one[1], SCORING .. one[7]
  if redis.call("HEXISTS", key, "status") == 1 then return {"exists", id} end
  local number = tonumber(string.match(id, "%-(%d+)b?$")) or -1
  if redis.call("HEXISTS", scoring .. ":shards", string.format("%.0f", number)) == 0
    or string.sub(id, 1, #one[7] + 1) ~= one[7] .. "-" or redis.call("HGET", scoring, "tenant") ~= tenant then
    redis.call("HSET", key, "status", "withdrawn")
    redis.call("EXPIRE", key, UNWANTED_S)
    return {"exists", id}
  end
  redis.call("HSET", key, "tenant", tenant, "queue", queue, "status", "queued", "message", message, "scoring", one[7],
    "created_ms", string.format("%.0f", one[2]))
  redis.call("ZADD", KEYS[2], one[2], id)
  depth = depth + 1
  return {"created", tostring(depth)}
end
local function create(key, remembered, one, message)
  local id = one[1]
  if one[7] ~= "" then return create_shard(key, one, message) end
  if remembered ~= "" then
    local held = redis.call("HMGET", remembered, "id", "body")
    if held[1] then
      local other = string.sub(key, 1, #key - #id) .. held[1]
      local status = redis.call("HGET", other, "status")
      if status and status ~= "withdrawn" then
        if held[2] ~= one[5] then return {"mismatch", held[1]} end
        return {"same", held[1]}
      end
    end
  end
  if redis.call("HLEN", key) > 0 then
    if redis.call("HEXISTS", key, "status") == 1 then return {"exists", id} end
    -- What was added to a record after it was lost is none.
    redis.call("DEL", key)
  end
  if limit > 0 and depth >= limit then return {"full", tostring(depth)} end
  local flying = flights + counted
  if most_flights > 0 and flying >= most_flights then return {"quota", tostring(flying)} end
  local fields = {"tenant", tenant, "queue", queue, "status", "queued", "counted", "1", "message", message,
    "created_ms", string.format("%.0f", one[2])}
  -- What most jobs have alike is left out: a million of them wait in memory.
  if one[3] ~= 0 then fields[13], fields[14] = "start_by_ms", string.format("%.0f", one[3]) end
  if one[4] ~= 86400 then fields[#fields + 1], fields[#fields + 2] = "result_ttl_s", string.format("%.0f", one[4]) end
  if one[8] ~= "" then fields[#fields + 1], fields[#fields + 2] = "reply", one[8] end
  if one[6] ~= "" then fields[#fields + 1], fields[#fields + 2] = "webhook", one[6] end
  redis.call("HSET", key, unpack(fields))
  redis.call("ZADD", KEYS[1], 0, id)
  redis.call("ZADD", KEYS[2], one[2], id)
  if one[3] ~= 0 then redis.call("ZADD", KEYS[3], one[3], "expire:" .. id) end
  if remembered ~= "" then
    redis.call("HSET", remembered, "id", id, "body", one[5])
    redis.call("EXPIRE", remembered, ARGV[5])
  end
  depth, counted = depth + 1, counted + 1
  return {"created", tostring(depth)}
end
local answers = {}
for index, one in ipairs(rows) do
  answers[index] = create(KEYS[5 + index], KEYS[5 + #rows + index], one, ARGV[6 + index])
end
if depth > before then redis.call("SADD", KEYS[4], queue) end
if counted > 0 then redis.call("HINCRBY", KEYS[5], tenant, counted) end
return cmsgpack.pack(answers)
