-- confirm: the broker confirmed the messages of jobs. A record that was lost meanwhile stays away, whole: what would be
-- left of it here could not be told from one.
-- KEYS the job of each
for _, key in ipairs(KEYS) do
  if redis.call("HEXISTS", key, "status") == 1 then redis.call("HSET", key, "confirmed", "1") end
end
return #KEYS
