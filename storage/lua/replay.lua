-- replay: a replay of dead letters begins, unless so many of its tenant's are running.
-- KEYS the replay, due, the tenant's replays, beginning of every replay's key
-- ARGV id, now_ms, most that may run, then fields and values of the replay
-- Returns 1, or 0 where too many run
for _, id in ipairs(redis.call("SMEMBERS", KEYS[3])) do
  if redis.call("HGET", KEYS[4] .. id, "status") ~= "running" then redis.call("SREM", KEYS[3], id) end
end
if redis.call("SCARD", KEYS[3]) >= tonumber(ARGV[3]) then return 0 end
redis.call("HSET", KEYS[1], unpack(ARGV, 4))
redis.call("ZADD", KEYS[2], ARGV[2], "replay:" .. ARGV[1])
redis.call("SADD", KEYS[3], ARGV[1])
return 1
