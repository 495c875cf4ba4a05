-- steps: the holder of the newest token notes what the steps of a pipeline's job took.
-- KEYS job
-- ARGV token, steps (JSON)
if redis.call("HGET", KEYS[1], "attempt") == ARGV[1] then redis.call("HSET", KEYS[1], "steps", ARGV[2]) end
