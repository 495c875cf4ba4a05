-- claim: a worker that holds the messages of one lane's jobs may run them, each under a new attempt token.
-- KEYS waiting, due, done channel, counters, then the job of each
-- ARGV now_ms, device, batch size, losses allowed, error for too many losses (JSON), and in MessagePack for each job:
--      {id, redelivered, holder}; the holder names the delivery, so that a claim whose answer was lost can be
--      asked again
-- Returns in MessagePack for each {"run", token, failures so far}, or in place of "run"
--      "missing"|"done"|"duplicate"|"early"|"expired"|"canceled"|"lost"
local now, started = tonumber(ARGV[1]), {}
local function claim(key, id, redelivered, holder)
  local held = redis.call("HMGET", key, "status", "start_by_ms", "not_before_ms", "cancel_requested", "losses",
    "queued_ms", "holder", "attempt", "failures", "result_ttl_s", "created_ms", "webhook")
  local status, attempt, failures = held[1], tonumber(held[8]) or 0, tonumber(held[9]) or 0
  if not status then return "missing", 0, 0 end
  if status == "running" then
    if held[7] == holder then return "run", attempt, failures end
    if not redelivered then return "duplicate", 0, 0 end
    if held[4] == "1" then
      terminate(key, id, KEYS[1], KEYS[2], "canceled", now, held[10], held[12], true)
      return "canceled", 0, 0
    end
    local losses = redis.call("HINCRBY", key, "losses", 1)
    if losses > tonumber(ARGV[4]) then
      terminate(key, id, KEYS[1], KEYS[2], "failed", now, held[10], held[12], true, "attempt", attempt + 1, "error", ARGV[5])
      return "lost", 0, 0
    end
  elseif status == "queued" then
    if (tonumber(held[3]) or 0) > 0 then return "early", 0, 0 end
    local start_by = tonumber(held[2]) or 0
    -- Once it has started it was in time, however often it runs again.
    if start_by > 0 and now > start_by and not held[8] then
      terminate(key, id, KEYS[1], KEYS[2], "expired", now, held[10], held[12])
      return "expired", 0, 0
    end
    redis.call("ZREM", KEYS[1], id)
    if start_by > 0 then redis.call("ZREM", KEYS[2], "expire:" .. id) end
    emit(key, id, "job.started", held[12], now)
  else
    return "done", 0, 0
  end
  local queued = tonumber(held[6] or held[11]) or now
  redis.call("HSET", key, "status", "running", "attempt", attempt + 1, "started_ms", ARGV[1], "batch_size", ARGV[3],
    "device", ARGV[2], "holder", holder, "queue_ms", now - queued)
  started[#started + 1] = id
  return "run", attempt + 1, failures
end
local answers = {}
for index, want in ipairs(cmsgpack.unpack(ARGV[6])) do
  answers[index] = {claim(KEYS[4 + index], want[1], want[2], want[3])}
end
if #started > 0 then redis.call("PUBLISH", KEYS[3] .. ":moves", table.concat(started, " ")) end
announce(KEYS[2], KEYS[3], KEYS[4])
return cmsgpack.pack(answers)
