-- judge: a job was taken over from a worker that seemed to be alive; now it is seen whether it was.
-- KEYS job, due, counters
-- ARGV member of the due set, "1" where the job ran alone, the worker
-- Returns "interrupted", "lost", or "settled" when that was known before
if redis.call("ZREM", KEYS[2], ARGV[1]) == 0 then return "settled" end
local lost = redis.call("EXISTS", WORKER .. ARGV[3]) == 0
redis.call("HINCRBY", KEYS[3], lost and "worker_losses" or "interruptions", 1)
if not lost then return "interrupted" end
-- One that was erased, or retried since, has nothing to correct.
if (tonumber(redis.call("HGET", KEYS[1], "interruptions")) or 0) > 0 then
  redis.call("HINCRBY", KEYS[1], "interruptions", -1)
  redis.call("HINCRBY", KEYS[1], "losses", 1)
  if ARGV[2] == "1" then redis.call("HINCRBY", KEYS[1], "lone_losses", 1) end
end
return "lost"
