-- retry: a client sends a job that failed, expired or was canceled back to the queue under its id.
-- KEYS job, waiting, due, tenant's failed jobs, jobs in flight by tenant, replay that does so ("" none)
-- ARGV id, now_ms, start_by_ms, limit of the tenant's jobs in flight (0: none)
-- Returns the status before the call, "missing", "erased" or "quota"; the relay publishes the message
local FORMER_ERRORS = 5
local held = redis.call("HMGET", KEYS[1], "status", "erased", "tenant", "counted", "error", "attempt", "completed_ms",
  "history", "scoring")
local status = held[1]
if not status or status == "withdrawn" or held[9] then return "missing" end
if held[2] and held[2] ~= "" then return "erased" end
if status ~= "failed" and status ~= "canceled" and status ~= "expired" then return status end
local most = tonumber(ARGV[4])
if most > 0 and tonumber(redis.call("HGET", KEYS[5], held[3]) or 0) >= most then return "quota" end
-- What a webhook is yet to tell of stays as it was.
local number = untold(KEYS[1], ARGV[1])
if number then redis.call("COPY", KEYS[1], KEYS[1] .. ":" .. number) end
if status == "failed" then
  local known, problem = pcall(cjson.decode, held[5] or "")
  local former = held[8] and cjson.decode(held[8]) or {}
  former[#former + 1] = {attempt = tonumber(held[6]) or 0, at_ms = tonumber(held[7]) or 0,
    code = known and type(problem) == "table" and tostring(problem.code) or "unknown"}
  while #former > FORMER_ERRORS do table.remove(former, 1) end
  redis.call("HSET", KEYS[1], "history", cjson.encode(former))
end
redis.call("HDEL", KEYS[1], "error", "outputs", "outputs_key", "cancel_requested", "completed_ms", "expires_ms",
  "started_ms", "steps", "failures", "losses", "lone_losses", "interruptions", "compute_ms", "queue_ms", "hooks_failed")
redis.call("HSET", KEYS[1], "status", "queued", "counted", "1", "queued_ms", ARGV[2], "not_before_ms", ARGV[2],
  "start_by_ms", ARGV[3])
redis.call("HINCRBY", KEYS[1], "replays", 1)
if held[4] ~= "1" then redis.call("HINCRBY", KEYS[5], held[3], 1) end
redis.call("PERSIST", KEYS[1])
redis.call("ZREM", KEYS[4], ARGV[1])
redis.call("ZREM", KEYS[3], "erase:" .. ARGV[1])
redis.call("ZADD", KEYS[3], ARGV[2], "retry:" .. ARGV[1])
if ARGV[3] ~= "0" then redis.call("ZADD", KEYS[3], ARGV[3], "expire:" .. ARGV[1]) end
redis.call("ZADD", KEYS[2], ARGV[2], ARGV[1])
if KEYS[6] ~= "" then redis.call("HINCRBY", KEYS[6], "replayed", 1) end
return status
