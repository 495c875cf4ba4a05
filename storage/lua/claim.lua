-- claim: a worker that holds the messages of one lane's jobs may run them, each under a new attempt token.
-- KEYS waiting, due, done channel, counters, then the job of each
-- ARGV now_ms, device, batch size, losses allowed, error for too many losses (JSON), and in MessagePack for each job:
--      {id, redelivered, holder}; the holder names the delivery, so that a claim whose answer was lost can be
--      asked again
-- Returns in MessagePack for each {"run", token, failures so far, whether it must run alone, and where it is known who
--      hears of its end over the broker}, or in place of "run"
--      "missing"|"done"|"duplicate"|"early"|"expired"|"canceled"|"lost"
-- A job that lost so many workers runs alone, and only what it loses alone can fail it.
local SUSPECT_AFTER = 2
-- When a worker that was alive a moment ago has given a sign of life, or is gone: storage/workers.py's TTL_S and one.
local JUDGED_MS = 16000
local now, started, newest, lost, reply = tonumber(ARGV[1]), {}, 0, 0, nil
-- Another delivery takes a running job over: why is known now, or once the worker that had it is seen, or is not.
-- Returns how many workers the job has lost alone.
local function charge(key, id, holder, attempt)
  local worker = string.match(holder or "", "^[^/]*")
  local own = redis.call("HMGET", key, "batch_size", "lone_losses")
  local alone = own[1] == "1"
  if redis.call("EXISTS", GONE .. worker) == 0 then
    redis.call("HINCRBY", key, "interruptions", 1)
    local member = "doubt:" .. id .. "/" .. attempt .. "/" .. (alone and "1" or "0") .. "/" .. worker
    redis.call("ZADD", KEYS[2], now + JUDGED_MS, member)
    return tonumber(own[2]) or 0
  end
  redis.call("HINCRBY", key, "losses", 1)
  lost = lost + 1
  return alone and redis.call("HINCRBY", key, "lone_losses", 1) or tonumber(own[2]) or 0
end
local function claim(key, id, redelivered, holder)
  local held = redis.call("HMGET", key, "status", "start_by_ms", "not_before_ms", "cancel_requested", "losses",
    "queued_ms", "holder", "attempt", "failures", "result_ttl_s", "created_ms", "webhook", "reply")
  reply = held[13]
  local status, attempt, failures = held[1], tonumber(held[8]) or 0, tonumber(held[9]) or 0
  if not status then return "missing", 0, 0 end
  if status == "running" then
    if held[7] == holder then return "run", attempt, failures, (tonumber(held[5]) or 0) >= SUSPECT_AFTER end
    if not redelivered then return "duplicate", 0, 0 end
    if held[4] == "1" then
      terminate(key, id, KEYS[1], KEYS[2], "canceled", now, held[10], held[12], true)
      return "canceled", 0, 0
    end
    if charge(key, id, held[7], attempt) > tonumber(ARGV[4]) then
      terminate(key, id, KEYS[1], KEYS[2], "failed", now, held[10], held[12], true, "attempt", attempt + 1, "error",
        ARGV[5])
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
    local queued = tonumber(held[6] or held[11]) or 0
    -- A sender's clock may be ahead.
    if queued <= now then newest = math.max(newest, queued) end
    if start_by > 0 then redis.call("ZREM", KEYS[2], "expire:" .. id) end
    emit(key, id, "job.started", held[12], now)
  else
    return "done", 0, 0
  end
  local queued = tonumber(held[6] or held[11]) or now
  local losses = status == "running" and redis.call("HGET", key, "losses") or held[5]
  local alone = (tonumber(losses) or 0) >= SUSPECT_AFTER
  redis.call("HSET", key, "status", "running", "attempt", attempt + 1, "started_ms", ARGV[1], "batch_size",
    alone and "1" or ARGV[3], "device", ARGV[2], "holder", holder, "queue_ms", now - queued)
  started[#started + 1] = id
  return "run", attempt + 1, failures, alone
end
local answers = {}
for index, want in ipairs(cmsgpack.unpack(ARGV[6])) do
  local answer = {claim(KEYS[4 + index], want[1], want[2], want[3])}
  if reply then answer[4], answer[5] = answer[4] or false, reply end
  answers[index] = answer
end
if #started > 0 then redis.call("PUBLISH", KEYS[3] .. ":moves", table.concat(started, " ")) end
-- What was put into the lane before this, and waits still, has been passed over (tasks/reaper.py).
if newest > 0 then redis.call("SET", KEYS[1] .. ":passed", string.format("%.0f", newest)) end
if lost > 0 then redis.call("HINCRBY", KEYS[4], "worker_losses", lost) end
announce(KEYS[2], KEYS[3], KEYS[4])
return cmsgpack.pack(answers)
